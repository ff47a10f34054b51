package tests

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/network"
	"dfemu/kernel/net/wire"
	"dfemu/machine"
)

// station is a host on the guest kernel's network: it answers ARP and echo requests, and sends its own.
type station struct {
	t    *testing.T
	mac  wire.MAC
	addr netip.Addr
	send func(frame []byte)
	// replies are the echo replies that came, arp the ARP replies.
	replies chan wire.ICMP
	arp     chan wire.ARP
}

func newStation(t *testing.T) *station {
	return &station{t: t, mac: wire.MAC{2, 0, 0, 0, 0, 9}, addr: netip.MustParseAddr("10.9.0.2"), replies: make(chan wire.ICMP, 16), arp: make(chan wire.ARP, 16)}
}

// input takes a frame of the guest.
func (s *station) input(frame []byte) {
	e, p, err := wire.ParseEthernet(frame)
	if err != nil {
		s.t.Errorf("the guest sent % x: %v", frame, err)
		return
	}
	switch e.Type {
	case wire.TypeARP:
		a, err := wire.ParseARP(p)
		if err != nil {
			s.t.Errorf("the guest sent % x: %v", frame, err)
			return
		}
		if a.Op == wire.ARPRequest && a.TargetIP == s.addr {
			s.send(wire.ARP{Op: wire.ARPReply, SenderMAC: s.mac, SenderIP: s.addr, TargetMAC: a.SenderMAC, TargetIP: a.SenderIP}.
				Append(wire.Ethernet{Dst: e.Src, Src: s.mac, Type: wire.TypeARP}.Append(nil)))
		} else if a.Op == wire.ARPReply {
			offer(s.arp, a)
		}
	case wire.TypeIPv4:
		h, p, err := wire.ParseIPv4(p)
		if err != nil {
			s.t.Errorf("the guest sent % x: %v", frame, err)
			return
		}
		m, err := wire.ParseICMP(p)
		switch {
		case h.Protocol != wire.ProtocolICMP || h.Dst != s.addr:
		case err != nil:
			s.t.Errorf("the guest sent % x: %v", frame, err)
		case m.Type == wire.ICMPEcho:
			m.Type = wire.ICMPEchoReply
			s.send(wire.IPv4{TTL: 64, Protocol: wire.ProtocolICMP, Src: s.addr, Dst: h.Src}.
				Append(wire.Ethernet{Dst: e.Src, Src: s.mac, Type: wire.TypeIPv4}.Append(nil), m.Append(nil)))
		case m.Type == wire.ICMPEchoReply:
			m.Data = bytes.Clone(m.Data)
			offer(s.replies, m)
		}
	}
}

// offer sends if there is room.
func offer[T any](c chan T, v T) {
	select {
	case c <- v:
	default:
	}
}

// await returns the next of what a channel gets.
func await[T any](t *testing.T, c chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("the guest has sent no %s", what)
	}
	return v
}

// visit resolves the guest's address and pings it with each number of bytes.
func (s *station) visit(mac wire.MAC, addr string, sizes ...int) {
	s.t.Helper()
	guest := netip.MustParseAddr(addr)
	s.send(wire.ARP{Op: wire.ARPRequest, SenderMAC: s.mac, SenderIP: s.addr, TargetIP: guest}.
		Append(wire.Ethernet{Dst: wire.MAC{255, 255, 255, 255, 255, 255}, Src: s.mac, Type: wire.TypeARP}.Append(nil)))
	if a := await(s.t, s.arp, "ARP reply"); a.SenderMAC != mac || a.SenderIP != guest || a.TargetMAC != s.mac {
		s.t.Errorf("the ARP reply says %+v", a)
	}
	for i, size := range sizes {
		data := make([]byte, size)
		for j := range data {
			data[j] = byte(j * (i + 3))
		}
		s.send(wire.IPv4{TTL: 64, Protocol: wire.ProtocolICMP, Src: s.addr, Dst: guest}.
			Append(wire.Ethernet{Dst: mac, Src: s.mac, Type: wire.TypeIPv4}.Append(nil), wire.ICMP{Type: wire.ICMPEcho, ID: 77, Seq: uint16(i), Data: data}.Append(nil)))
		if m := await(s.t, s.replies, "echo reply"); m.ID != 77 || m.Seq != uint16(i) || !bytes.Equal(m.Data, data) {
			s.t.Errorf("the reply to %d bytes is %d.%d with %d bytes, or they differ", size, m.ID, m.Seq, len(m.Data))
		}
	}
}

// hubStation is a station on a hub of this process.
type hubStation struct {
	*station
	net devices.Network
}

func (s hubStation) Receive(_ int, frames []devices.Frame) int {
	for i := range frames {
		b := make([]byte, frames[i].Len())
		frames[i].CopyTo(b, 0)
		go s.input(b) // the network's callbacks must not send
	}
	return len(frames)
}

func (hubStation) LinkChanged(bool) {}

func joinHub(t *testing.T, hubs *network.Hubs) *station {
	t.Helper()
	n, err := network.Open(nic(t, "hub"), network.Env{Hubs: hubs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	s := newStation(t)
	s.send = func(b []byte) { n.Send(0, []devices.Frame{{Pieces: [][]byte{b}}}) }
	n.Connect(hubStation{s, n})
	n.Configure(0, 1)
	return s
}

// TestKernelNet has the kernel use virtio NICs on a user network and a hub, in both directions, with cables pulled, faults, NICs that come
// and go, and strict devices. Interrupts are messages, then pins.
func TestKernelNet(t *testing.T) {
	t.Parallel() // it waits most of the time
	for name, cmdline := range interrupts {
		t.Run(name, func(t *testing.T) {
			hubs := new(network.Hubs)
			s := joinHub(t, hubs)
			g := startKernel(t, machine.Config{Cmdline: cmdline, Hubs: hubs, NICs: []network.Options{
				nic(t, "user,model=virtio,mac=52:54:00:00:00:01"), nic(t, "hub,model=virtio,mac=52:54:00:00:00:02"),
			}})
			pair := 2
			intr := `MSI-X, messages: 3`
			if cmdline != "" {
				intr = `irq \d+, INTA#`
			}
			g.expect("ifconfig", `vtnet0: ether 52:54:00:00:00:01 mtu 1500 status: active`, `vtnet1: ether 52:54:00:00:00:02`,
				fmt.Sprintf(`\(%d of %d queue pairs of 128, %s`, pair, pair, intr))
			g.expect("ifconfig vtnet0 10.0.2.15/24", "!ifconfig: .*")
			g.expect("ping -c 3 -i 0 10.0.2.2", `64 bytes from 10.0.2.2: icmp_seq=2`, `3 packets transmitted, 3 packets received`)
			g.expect("ping -c 1 -s 1472 10.0.2.2", `1480 bytes from 10.0.2.2`, "1 packets received")
			g.expect("ping -c 1 -s 1473 10.0.2.2", "the frame is too short or exceeds the MTU")
			g.expect("ping -c 1 192.0.2.1", "no route to host")
			g.expect("arp", `10.0.2.2 at 52:55:0a:00:02:02 on vtnet0`)

			g.expect("ifconfig vtnet1 10.9.0.1/24")
			s.visit(wire.MAC{0x52, 0x54, 0, 0, 0, 2}, "10.9.0.1", 0, 1, 56, 1472)
			g.expect("ping -c 2 -i 0 10.9.0.2", "2 packets received")
			g.expect("arp", "10.9.0.2 at 02:00:00:00:00:09 on vtnet1")
			g.expect("netstat", "icmp: 4 echo requests", "dropped: 0 fragments, 0 bad")
			g.expect("ifconfig vtnet1", `in [1-9]\d* frames [1-9]\d* bytes 0 errors 0 dropped; out [1-9]\d* frames [1-9]\d* bytes 0 errors 0 dropped`)

			at := g.mark()
			if err := g.ctl.SetLink("virtio-net1", false); err != nil {
				t.Fatal(err)
			}
			g.await(at, "vtnet1: link state changed to DOWN")
			g.expect("ping -c 1 10.9.0.2", "the link is down", "0 packets received")
			g.expect("ifconfig vtnet1", "status: no carrier")
			at = g.mark()
			if err := g.ctl.SetLink("virtio-net1", true); err != nil {
				t.Fatal(err)
			}
			g.await(at, "vtnet1: link state changed to UP")
			g.expect("ping -c 1 10.9.0.2", "1 packets received")

			at = g.mark()
			g.under("virtio-net1,op=transmit,hang,times=1", "ping -c 1 10.9.0.2", "icmp_seq=0: no answer", "0 packets received")
			g.await(at, "vtnet1: watchdog timeout: the device does not send: reset")
			g.await(at, "vtnet1: link state changed to UP")
			g.expect("ping -c 1 10.9.0.2", "1 packets received")
			g.under("virtio-net1,op=receive,flip=3,times=1", "ping -c 2 -i 0 10.9.0.2", "1 packets received")

			at = g.mark()
			plugged, err := g.ctl.PlugNIC(nic(t, "hub,model=virtio,mac=52:54:00:00:00:03"))
			if err != nil {
				t.Fatal(err)
			}
			g.await(at, "vtnet2: link state changed to UP")
			g.expect("ifconfig vtnet1 delete")
			g.expect("ifconfig vtnet2 10.9.0.3/24")
			s.visit(wire.MAC{0x52, 0x54, 0, 0, 0, 3}, "10.9.0.3", 100)
			at = g.mark()
			if err := g.ctl.Unplug(plugged, true); err != nil {
				t.Fatal(err)
			}
			g.await(at, "vtnet2: detached")
			g.expect("ifconfig", "!vtnet2", "vtnet0")

			// Once more, this time with frames on their way, and the driver is asked.
			at = g.mark()
			if plugged, err = g.ctl.PlugNIC(nic(t, "hub,model=virtio,mac=52:54:00:00:00:04")); err != nil {
				t.Fatal(err)
			}
			g.await(at, "vtnet2: link state changed to UP")
			g.expect("ifconfig vtnet2 10.9.0.4/24")
			at = g.mark()
			if _, err := io.WriteString(g.in, "ping -c 20 -i 0.02 -s 1000 10.9.0.2\r"); err != nil {
				t.Fatal(err)
			}
			g.await(at, "icmp_seq=3 ttl")
			if err := g.ctl.Unplug(plugged, false); err != nil {
				t.Fatal(err)
			}
			g.await(at, "vtnet2: detached")
			if s := g.await(at, "20 packets transmitted"); !strings.Contains(s, "no route to host") {
				t.Errorf("ping did not see that the NIC went:\n%s", s)
			}
			g.await(at, "ping: no answer\r\n"+kernelPrompt)
			g.expect("ping -c 1 10.9.0.2", "no route to host")
			g.powerOff()
		})
	}
}

// TestKernelNetPeer has the same kernel use QEMU's NICs: on its user network, and on a cable to this process, in both directions; one of them
// has no messages, nor has a disk.
func TestKernelNetPeer(t *testing.T) {
	path, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skip("QEMU is not installed")
	}
	kernel := kernelImage(t)
	here, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	there, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	qemu := there.LocalAddr().(*net.UDPAddr)
	there.Close() // QEMU takes the port
	s := newStation(t)
	s.send = func(b []byte) { _, _ = here.WriteToUDP(b, qemu) } // what is lost is missed
	asked := make(chan bool, 1)
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := here.Read(b)
			if err != nil {
				return
			}
			s.input(bytes.Clone(b[:n]))
			offer(asked, true)
		}
	}()
	visited := make(chan bool)
	go func() {
		defer close(visited)
		<-asked
		s.visit(wire.MAC{0x52, 0x54, 0, 0, 0, 2}, "10.9.0.1", 0, 56, 1472)
	}()
	d := kernelDisks(t)[2]
	ctx, cancel := context.WithTimeout(context.Background(), timeLimit)
	defer cancel()
	var out output
	c := exec.CommandContext(ctx, path, "-M", "q35", "-accel", "tcg", "-m", "256", "-smp", "2", "-kernel", kernel,
		"-append", "dfly.run=ifconfig+vtnet0+10.0.2.15/24;ping+-c+3+-i+0.1+10.0.2.2;ifconfig+vtnet1+10.9.0.1/24;ping+-c+4+-i+0.5+10.9.0.2;netstat;ifconfig;md5;random dfly.poweroff",
		"-display", "none", "-serial", "stdio", "-no-reboot", "-netdev", "user,id=a", "-device", "virtio-net-pci,netdev=a,mac=52:54:00:00:00:01",
		"-netdev", fmt.Sprintf("socket,id=b,udp=%v,localaddr=%v", here.LocalAddr(), qemu), "-device", "virtio-net-pci,netdev=b,mac=52:54:00:00:00:02,vectors=0",
		"-device", "virtio-rng-pci", "-drive", "if=none,format=raw,id=d,file="+d.file, "-device", "virtio-blk-pci,vectors=0,drive=d,serial="+d.serial)
	c.Stdout, c.Stderr = &out, &out
	if err := c.Run(); err != nil {
		t.Errorf("QEMU: %v", err)
	}
	select {
	case <-visited:
	default:
		t.Error("the guest has not answered")
	}
	out.expect(t, "viornd0: VirtIO entropy source, 64 bytes", "3 packets transmitted, 3 packets received", "4 packets transmitted, 4 packets received", "icmp: 3 echo requests, 7 echo replies",
		fmt.Sprintf("%x serial %s", d.sum, d.serial))
	if strings.Contains(out.String(), "interrupt storm") {
		t.Errorf("an interrupt came without end:\n%s", out.Bytes())
	}
	if !regexp.MustCompile(`vtnet1: ether 52:54:00:00:00:02 mtu 1500 status: active \(1 of 1 queue pairs of 128, irq \d+, INTA#`).Match(out.Bytes()) {
		t.Errorf("the NIC without messages does not use its pin:\n%s", out.Bytes())
	}
}

// TestKernelPins reads disks on all kinds of controllers whose interrupts are pins, some of which share a line.
func TestKernelPins(t *testing.T) {
	disks := kernelDisks(t)
	c := machine.Config{Cmdline: "hw.pci.msi.enable=0 hw.pci.msix.enable=0"}
	for _, d := range append(disks, disks...) {
		c.Disks = append(c.Disks, machine.Disk{File: d.file, If: d.kind, ReadOnly: true})
	}
	g := startKernel(t, c)
	s := g.expect("md5", "!md5: ")
	for _, d := range disks {
		if n := strings.Count(s, fmt.Sprintf("%x", d.sum)); n != 2 {
			t.Errorf("%s: %d of 2 disks were read:\n%s", d.kind, n, s)
		}
	}
	lines := map[string]int{}
	for _, m := range regexp.MustCompile(`interrupts: (.*)`).FindAllStringSubmatch(g.sh("pciconf"), -1) {
		if !strings.HasPrefix(m[1], "irq ") {
			t.Errorf("a function has %s instead of a pin", m[1])
		}
		lines[m[1]]++
	}
	shared := false
	for _, n := range lines {
		shared = shared || n > 1
	}
	if !shared {
		t.Errorf("no line is shared: %v", lines)
	}
	g.powerOff()
}

// TestKernelEntropy feeds the kernel's random source.
func TestKernelEntropy(t *testing.T) {
	g := startKernel(t, machine.Config{})
	g.expect("dmesg", "viornd0: VirtIO entropy source, 64 bytes")
	g.expect("ls", "random", "urandom")
	a, b := g.expect("random 64", `random: \d+ bytes were added`, `00000030  `), g.sh("random 64")
	if a[strings.Index(a, "00000000"):] == b[strings.Index(b, "00000000"):] {
		t.Errorf("twice the same:\n%s", a)
	}
	g.powerOff()
}
