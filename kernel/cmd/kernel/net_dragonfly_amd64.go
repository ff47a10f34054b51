package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"dfemu/kernel/bus/pci"
	"dfemu/kernel/dev/virtio"
	"dfemu/kernel/net/ifnet"
	"dfemu/kernel/net/inet"
	"dfemu/kernel/platform/pc64"
	"dfemu/kernel/shell"
)

// netDrivers are the drivers of network and entropy devices.
func netDrivers(set *ifnet.Set) []pci.Driver {
	return []pci.Driver{
		virtio.Net{Set: set},
		virtio.RNG{Feed: func(_ string, b []byte) { pc64.AddEntropy(b) }},
	}
}

// netCommands are the shell's commands for networks.
func netCommands(set *ifnet.Set, s *inet.Stack) []shell.Command {
	return []shell.Command{
		{Name: "ifconfig", Args: "[IF [ADDR/LEN [GATEWAY]|delete]]", Help: "list the network interfaces, or give one an address", Run: func(w io.Writer, args []string) error {
			if len(args) > 1 {
				return configure(set, s, args)
			}
			return listInterfaces(w, set, s, args)
		}},
		{Name: "ping", Args: "[-c COUNT] [-s SIZE] [-i SECONDS] ADDR", Help: "send echo requests", Run: func(w io.Writer, args []string) error { return ping(w, s, args) }},
		{Name: "arp", Help: "list the neighbors that are known", Run: func(w io.Writer, _ []string) error {
			l := s.Neighbors()
			slices.SortFunc(l, func(a, b inet.Neighbor) int {
				return cmp.Or(cmp.Compare(a.On.Name, b.On.Name), a.Addr.Compare(b.Addr))
			})
			for _, n := range l {
				fmt.Fprintf(w, "%v at %v on %s\n", n.Addr, n.MAC, n.On.Name)
			}
			return nil
		}},
		{Name: "netstat", Help: "what the protocols have counted", Run: func(w io.Writer, _ []string) error {
			c := s.Stats()
			fmt.Fprintf(w, "arp: %d requests, %d replies\nicmp: %d echo requests, %d echo replies\ndropped: %d fragments, %d bad, %d of other protocols\n",
				c.ARPRequests, c.ARPReplies, c.EchoRequests, c.EchoReplies, c.Fragments, c.Bad, c.Others)
			return nil
		}},
	}
}

func listInterfaces(w io.Writer, set *ifnet.Set, s *inet.Stack, args []string) error {
	list := set.List()
	slices.SortFunc(list, func(a, b *ifnet.Interface) int { return cmp.Compare(a.Name, b.Name) })
	if len(args) > 0 {
		i := set.Find(args[0])
		if i == nil {
			return fmt.Errorf("%s: no such interface", args[0])
		}
		list = []*ifnet.Interface{i}
	}
	for _, i := range list {
		link := "no carrier"
		if i.Link() {
			link = "active"
		}
		fmt.Fprintf(w, "%s: ether %v mtu %d status: %s (%s)\n", i.Name, i.MAC, i.MTU, link, i.Where)
		if c, ok := s.Config(i); ok {
			fmt.Fprintf(w, "        inet %v", c.Addr)
			if c.Gateway.IsValid() {
				fmt.Fprintf(w, " gateway %v", c.Gateway)
			}
			fmt.Fprintln(w)
		}
		n := &i.Stats
		fmt.Fprintf(w, "        in %d frames %d bytes %d errors %d dropped; out %d frames %d bytes %d errors %d dropped\n",
			n.InFrames.Load(), n.InBytes.Load(), n.InErrors.Load(), n.InDrops.Load(),
			n.OutFrames.Load(), n.OutBytes.Load(), n.OutErrors.Load(), n.OutDrops.Load())
	}
	return nil
}

func configure(set *ifnet.Set, s *inet.Stack, args []string) error {
	i := set.Find(args[0])
	if i == nil {
		return fmt.Errorf("%s: no such interface", args[0])
	}
	if args[1] == "delete" {
		return s.Configure(i, inet.Config{})
	}
	a, err := netip.ParsePrefix(args[1])
	if err != nil {
		return fmt.Errorf("%s: not an address with the length of its prefix, as 10.0.2.15/24", args[1])
	}
	c := inet.Config{Addr: a}
	if len(args) > 2 {
		if c.Gateway, err = netip.ParseAddr(args[2]); err != nil {
			return fmt.Errorf("%s: not an address", args[2])
		}
	}
	return s.Configure(i, c)
}

// ping sends echo requests and tells of their replies as ping does. It fails if a reply is missing.
func ping(w io.Writer, s *inet.Stack, args []string) error {
	count, size, every := 3, 56, time.Second
	for len(args) > 1 {
		v, err := strconv.ParseFloat(args[1], 64)
		if err != nil || v < 0 || v > 1e6 {
			return fmt.Errorf("%s %s: not a number", args[0], args[1])
		}
		switch args[0] {
		case "-c":
			count = int(v)
		case "-s":
			size = int(v)
		case "-i":
			every = time.Duration(v * float64(time.Second))
		default:
			return fmt.Errorf("%s: no such option", args[0])
		}
		args = args[2:]
	}
	if len(args) == 0 {
		return errors.New("which address?")
	}
	dst, err := netip.ParseAddr(args[0])
	if err != nil {
		return fmt.Errorf("%s: not an address", args[0])
	}
	p, err := s.Pinger(dst)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "PING %v: %d data bytes\n", dst, size)
	got := 0
	for n := range count {
		if n > 0 {
			time.Sleep(every)
		}
		r, err := p.Ping(size, 5*time.Second)
		if err != nil {
			fmt.Fprintf(w, "%v: icmp_seq=%d: %v\n", dst, n, err)
			continue
		}
		got++
		fmt.Fprintf(w, "%d bytes from %v: icmp_seq=%d ttl=%d time=%.3f ms\n", r.Size+8, dst, r.Seq, r.TTL, float64(r.Time)/1e6)
	}
	fmt.Fprintf(w, "%d packets transmitted, %d packets received\n", count, got)
	if got < count {
		return inet.ErrTimeout
	}
	return nil
}
