package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"dfemu/devices/watch"
	"dfemu/machine"
	"dfemu/qmp"
	"dfemu/tests/tiny"
)

// controlled starts a guest that does nothing on a machine that flags describe, and connects to its control socket.
// ended gets the outcome.
func controlled(t *testing.T, flags ...string) (c *qmp.Client, ended <-chan machine.Outcome) {
	t.Helper()
	dir := t.TempDir()
	kernel := filepath.Join(dir, "guest")
	if err := os.WriteFile(kernel, tiny.Hang(), 0o644); err != nil {
		t.Fatal(err)
	}
	var f bootFlags
	b := &cobra.Command{Use: "boot"}
	f.register(b)
	if err := b.ParseFlags(append([]string{"--accel=interp", "--memory=16M", "--kernel=" + kernel}, flags...)); err != nil {
		t.Fatal(err)
	}
	cfg, err := f.config(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Watch = &machine.Watch{Faults: &watch.Faults{}}
	m, err := machine.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "socket")
	s, err := listenControl(path, m, &cfg, &serialLog{})
	if err != nil {
		t.Fatal(err)
	}
	out := make(chan machine.Outcome, 1)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		o, err := m.Run(ctx)
		if err != nil {
			t.Error(err)
		}
		out <- o
	}()
	if c, err = qmp.Dial(path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		<-done
		if err := errors.Join(c.Close(), s.Close(), m.Close()); err != nil {
			t.Error(err)
		}
	})
	return c, out
}

// image makes a disk image.
func image(t *testing.T, size int64) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(name, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, size); err != nil {
		t.Fatal(err)
	}
	return name
}

// names returns the values of a key in the objects of a list.
func names(t *testing.T, c *qmp.Client, query, key string) string {
	t.Helper()
	answer, err := c.Execute(query, nil)
	if err != nil {
		t.Fatal(err)
	}
	var l []map[string]any
	if err := json.Unmarshal(answer, &l); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range l {
		names = append(names, e[key].(string))
	}
	return strings.Join(names, " ")
}

// TestControlNames checks that devices have one name each, whatever asks, also when they have come later.
func TestControlNames(t *testing.T) {
	disk, iso := image(t, 1<<20), image(t, 1<<20)
	c, _ := controlled(t, "--disk=mem:1M,if=ahci", "--disk=mem:1M", "--disk="+disk+",if=nvme,ctrl=x", "--disk=mem:2M,if=nvme,ctrl=x",
		"--disk="+iso+",if=ahci,media=cdrom,ro", "--nic=hub", "--nic=hub,model=e1000e,id=lan", "--device=ahci,ports=3,id=spare",
		"--device=nvme,file=mem:1M,id=fast", "--device=virtio-blk,file=mem:1M,packed=on,queue-size=64", "--device=virtio-rng", "--device=virtio-console")
	must := func(name string, args map[string]any) string {
		t.Helper()
		answer, err := c.Execute(name, args)
		if err != nil {
			t.Errorf("%s %v: %v", name, args, err)
		}
		return string(answer)
	}
	must("device_add", map[string]any{"driver": "nvme", "file": "mem:64M", "serial": "A1", "zoned": "on"})
	must("device_add", map[string]any{"driver": "virtio-blk", "file": "mem:1M", "id": "hot"})
	must("device_add", map[string]any{"driver": "ahci", "file": "mem:1M"})
	if got := must("device_add", map[string]any{"driver": "virtio-net", "netdev": "hub"}); !strings.Contains(got, `"x-unit":"virtio-net1"`) {
		t.Errorf("device_add answers %s", got)
	}
	if got, want := names(t, c, "query-block", "device"), "spare.0 virtio-blk0 spare.1 virtio-blk1 nvme0n1 nvme0n2 fastn1 nvme1n1 hot spare.2"; got != want {
		t.Errorf("drives %s, want %s", got, want)
	}
	if got, want := names(t, c, "query-block", "qdev"), "spare.0 virtio-blk0 spare.1 virtio-blk1 nvme0 nvme0 fast nvme1 hot spare.2"; got != want {
		t.Errorf("units %s, want %s", got, want)
	}
	if got, want := names(t, c, "x-query-net", "name"), "virtio-net0 lan virtio-net1"; got != want {
		t.Errorf("networks %s, want %s", got, want)
	}
	must("eject", map[string]any{"device": "spare.1"})
	if got := must("query-block", nil); strings.Contains(got, iso) || !strings.Contains(got, disk) {
		t.Errorf("after ejecting: %s", got)
	}
	must("blockdev-change-medium", map[string]any{"device": "spare.1", "filename": iso})
	if got := must("query-block", nil); !strings.Contains(got, iso) {
		t.Errorf("after inserting: %s", got)
	}
	must("set_link", map[string]any{"name": "lan", "up": false})
	if got := must("x-query-net", nil); strings.Count(got, `"link":false`) != 1 {
		t.Errorf("after cutting a cable: %s", got)
	}
	must("set_link", map[string]any{"name": "spare.0", "up": false})
	must("x-fault-add", map[string]any{"rule": "hot,fail"})
	var gone []string
	c.Event = func(name string, data json.RawMessage) { gone = append(gone, name+" "+string(data)) }
	for _, unit := range []string{"nvme1", "hot", "spare.2", "virtio-net1"} {
		must("device_del", map[string]any{"id": unit, "x-surprise": true})
		if _, err := c.Execute("device_del", map[string]any{"id": unit, "x-surprise": true}); err == nil {
			t.Errorf("%s: unplugged twice", unit)
		}
	}
	if got, want := names(t, c, "query-block", "device"), "spare.0 virtio-blk0 spare.1 virtio-blk1 nvme0n1 nvme0n2 fastn1"; got != want {
		t.Errorf("drives after unplugging %s, want %s", got, want)
	}
	if len(gone) != 4 || gone[2] != `DEVICE_DELETED {"device":"spare.2","path":"/machine/peripheral/spare.2"}` {
		t.Errorf("events %q", gone)
	}
	// Their names are free again.
	must("device_add", map[string]any{"driver": "nvme", "file": "mem:1M"})
	if got := names(t, c, "query-block", "device"); !strings.HasSuffix(got, " nvme1n1") {
		t.Errorf("drives %s", got)
	}
	for _, x := range []struct {
		name string
		args map[string]any
		want string
	}{
		{"eject", map[string]any{"device": "virtio-blk0"}, "its medium cannot be removed"},
		{"eject", map[string]any{"device": "nobody"}, "nobody: no such device"},
		{"set_link", map[string]any{"name": "fast", "up": true}, "fast: no such device"},
		{"device_del", map[string]any{"id": "fast"}, "fast: no such device"},
		{"device_add", map[string]any{"driver": "nvme", "file": "mem:1M", "id": "fast"}, "there is a device with this name"},
		{"device_add", map[string]any{"driver": "nvme", "file": "mem:1M", "id": "a b"}, "must be letters"},
		{"device_add", map[string]any{"driver": "nvme", "file": "mem:1M", "ctrl": "x"}, "a controller that is added has one disk"},
		{"device_add", map[string]any{"driver": "nvme", "file": "mem:1M", "media": "cdrom"}, `nvme has no "media"; there are file, serial`},
		{"device_add", map[string]any{"driver": "ahci", "file": "mem:1M", "media": "tape"}, "media=tape: must be disk or cdrom"},
		{"device_add", map[string]any{"driver": "ahci", "file": "mem:1M", "id": "x"}, "are called after their port"},
		{"device_add", map[string]any{"driver": "ahci"}, "file= is missing"},
		{"device_add", map[string]any{"driver": "virtio-rng"}, "cannot be added to a running machine, only ahci, nvme, virtio-blk"},
		{"device_add", map[string]any{"driver": "sb16"}, "sb16: there is no such device; there are ahci"},
		{"device_add", map[string]any{"driver": "e1000e", "netdev": "hub", "queues": 4}, `e1000e has no "queues"`},
		{"device_add", map[string]any{"driver": "virtio-blk", "file": "mem:1M", "queues": 0}, "queues=0: must be a number from 1 to 256"},
	} {
		if _, err := c.Execute(x.name, x.args); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s %v: %v, want %q", x.name, x.args, err, x.want)
		}
	}
}

// TestControlMultiplier plugs drives in at an adapter with a port multiplier.
func TestControlMultiplier(t *testing.T) {
	c, _ := controlled(t, "--device=ahci,ports=2,multiplier=2", "--disk=mem:1M,if=ahci", "--disk=mem:1M,if=ahci", "--disk=mem:1M,if=nvme", "--disk=mem:1M,if=nvme")
	do := func(want string, args ...string) {
		t.Helper()
		name, m, err := ctlCommand(args)
		if err == nil {
			_, err = c.Execute(name, m)
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
	do("", "plug", "ahci", "file=mem:1M", "wwn=5000c50012345678", "firmware=FW1", "trim=zero")
	if got, want := names(t, c, "query-block", "device"), "ahci0.0 ahci0.1.0 nvme0n1 nvme1n1 ahci0.1.1"; got != want {
		t.Errorf("drives %s, want %s", got, want)
	}
	do("no AHCI adapter with a free port", "plug", "ahci", "file=mem:1M")
	do("", "link", "ahci0.0", "off")
	do("only the cable between adapter and port multiplier can be pulled, ahci0.1", "link", "ahci0.1.1", "off")
	do("", "unplug", "ahci0.1.0")
	do("wwn=12: must be 16 hexadecimal digits", "plug", "ahci", "file=mem:1M", "wwn=12")
	do("firmware revision \"123456789\": at most 8", "plug", "ahci", "file=mem:1M", "firmware=123456789")
	do("rpm=70000: must be a number from 1 to 65534", "plug", "ahci", "file=mem:1M", "rpm=70000")
	do("trim=maybe: must be on, zero or off", "plug", "ahci", "file=mem:1M", "trim=maybe")
	do("unknown setting \"trim\"", "plug", "ahci", "file=mem:1M", "media=cdrom", "trim=on")
	do("multiplier= is for an adapter alone", "plug", "ahci", "file=mem:1M", "multiplier=3")
	do("are for zoned only", "plug", "nvme", "file=mem:1M", "zone-size=1M")
	do("transfers of 1000 bytes: must be a power of two", "plug", "nvme", "file=mem:1M", "mdts=1000")
	do("uuid=0: must be 32 hexadecimal digits", "plug", "nvme", "file=mem:1M", "uuid=0")
	do("", "plug", "ahci", "file=mem:1M")
	if got := names(t, c, "query-block", "device"); !strings.HasSuffix(got, " ahci0.1.0") {
		t.Errorf("drives %s", got)
	}
}

// TestControlForwards checks that each forward of a network device that is plugged in is opened: of several, any that is
// impossible is the error.
func TestControlForwards(t *testing.T) {
	c, _ := controlled(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := fmt.Sprintf("tcp:%v-:22", l.Addr())
	for _, forwards := range [][]string{{taken, "tcp::0-:23"}, {"tcp::0-:23", taken}, {"udp::0-:53", "tcp::0-:80", taken}} {
		_, err := c.Execute("device_add", map[string]any{"driver": "virtio-net", "netdev": "user", "hostfwd": forwards})
		if err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
			t.Errorf("%q: %v, want an error about %v", forwards, err, l.Addr())
		}
	}
	for _, x := range []struct {
		args []string
		want string // of an error
	}{
		{[]string{"plug", "e1000e", "netdev=user", "hostfwd=tcp::0-:22", "hostfwd=udp::0-:53", "isolated"}, ""},
		{[]string{"plug", "nvme", "file=mem:1M", "serial=007", "ro"}, ""},
		{[]string{"plug", "nvme", "file=mem:1M", "file=mem:2M"}, "file is given 2 times; only hostfwd= may be"},
		{[]string{"plug", "virtio-net", "netdev=user", "hostfwd=tcp::1-:2", "hostfwd"}, "hostfwd=on: must be tcp|udp"},
	} {
		name, m, err := ctlCommand(x.args)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = c.Execute(name, m); x.want == "" && err != nil || x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)) {
			t.Errorf("%q: %v, want %q", x.args, err, x.want)
		}
	}
}

// TestCtlCommands checks what becomes of command lines.
func TestCtlCommands(t *testing.T) {
	for _, x := range []struct{ args, want string }{
		{"plug nvme file=a.img serial=0010 ro", `device_add {"driver":"nvme","file":"a.img","ro":true,"serial":"0010"}`},
		{"plug e1000e netdev=user hostfwd=a hostfwd=b hostfwd=c", `device_add {"driver":"e1000e","hostfwd":["a","b","c"],"netdev":"user"}`},
		{"unplug nvme1", `device_del {"id":"nvme1","x-surprise":false}`},
		{"pull nvme1", `device_del {"id":"nvme1","x-surprise":true}`},
		{"link ahci0.1 off", `set_link {"name":"ahci0.1","up":false}`},
		{"insert ahci0.1 b.iso", `blockdev-change-medium {"device":"ahci0.1","filename":"b.iso"}`},
		{"balloon value=1024", `balloon {"value":1024}`},
		{"power-loss", "x-power-loss null"},
		{"link ahci0.1 of", "must be on or off"},
		{"link ahci0.1", "DEVICE on|off"},
		{"plug", "DRIVER KEY=VALUE"},
		{"plug nvme =x", "=x: must be KEY=VALUE"},
		{"plug nvme driver=ahci", "driver=ahci: must be"},
		{"eject", "eject DEVICE"},
		{"status now", "now: must be KEY=VALUE"},
	} {
		name, m, err := ctlCommand(strings.Fields(x.args))
		got := fmt.Sprint(err)
		if err == nil {
			p, e := json.Marshal(m)
			if e != nil {
				t.Fatal(e)
			}
			got = name + " " + string(p)
		}
		if got != x.want && (err == nil || !strings.Contains(got, x.want)) {
			t.Errorf("%s: %s, want %s", x.args, got, x.want)
		}
	}
}

// TestControlPowerLoss checks that the plug can be pulled.
func TestControlPowerLoss(t *testing.T) {
	c, ended := controlled(t, "--disk=mem:1M,if=virtio,cache=volatile", "--disk=mem:1M,if=ahci,cache=volatile", "--disk=mem:1M,if=nvme,cache=volatile")
	if _, err := c.Execute("x-power-loss", nil); err != nil {
		t.Fatal(err)
	}
	if o := <-ended; o.Cause != machine.Stopped {
		t.Errorf("ended with %v", o.Cause)
	}
}

// TestControlActs checks what rules do to devices and to the machine, and that devices in slots can be taken away.
func TestControlActs(t *testing.T) {
	c, ended := controlled(t, "--device=ahci,ports=2,multiplier=2", "--disk=mem:1M,if=ahci", "--disk=mem:1M,if=ahci", "--disk=mem:1M,if=nvme,slot", "--disk=mem:1M,slot",
		"--disk=mem:1M,if=scsi", "--disk=mem:1M,if=nvme", "--nic=hub,name=acts,slot", "--nic=hub,name=acts,model=e1000e,slot=on")
	rule := func(s string) {
		t.Helper()
		name, m, err := ctlCommand([]string{"fault", s})
		if err == nil {
			_, err = c.Execute(name, m)
		}
		if err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	links := func() string {
		answer, err := c.Execute("x-query-net", nil)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(regexp.MustCompile(`"link":(true|false)`).FindAllString(string(answer), -1), " ")
	}
	await := func(what string, is func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s has not come: links %s, drives %s", what, links(), names(t, c, "query-block", "device"))
			}
		}
	}
	drives := func(want string) {
		t.Helper()
		await(want, func() bool { return names(t, c, "query-block", "device") == want })
	}
	drives("ahci0.0 ahci0.1.0 virtio-blk0 virtio-scsi0.0.0 nvme0n1 nvme1n1")
	rule("nvme1,at=0s,remove") // is in no slot
	rule("nvme0,at=1ms,remove")
	drives("ahci0.0 ahci0.1.0 virtio-blk0 virtio-scsi0.0.0 nvme1n1")
	rule("virtio-scsi0.0.0,at=0s,remove")
	rule("virtio-blk0,at=0s,remove")
	drives("ahci0.0 ahci0.1.0 nvme1n1")
	rule("ahci0.1.0,at=0s,remove")
	rule("ahci0.1,at=0s,link-down") // the multiplier's cable
	drives("ahci0.0 nvme1n1")
	rule("virtio-net0,at=0s,link-down")
	await("the link is down", func() bool { return links() == `"link":false "link":true` })
	rule("e1000e0,at=0s,link-down=1ms")
	rule("virtio-net0,at=0s,link-up")
	await("the links are up", func() bool { return links() == `"link":true "link":true` })
	rule("e1000e0,at=0s,remove")
	await("the device is gone", func() bool { return links() == `"link":true` })
	rule("*,at=0s,power-loss")
	if o := <-ended; o.Cause != machine.Stopped {
		t.Errorf("ended with %v", o.Cause)
	}
}

// TestControlPause checks that a paused machine is resumed only when everybody has resumed it.
func TestControlPause(t *testing.T) {
	c, _ := controlled(t, "--disk=mem:1M,if=virtio,iops=1")
	for _, name := range []string{"stop", "x-query-net", "cont", "stop", "stop", "cont"} {
		if _, err := c.Execute(name, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	answer, err := c.Execute("query-status", nil)
	if err != nil || !strings.Contains(string(answer), `"running":true`) {
		t.Errorf("%s %v", answer, err)
	}
}

func TestDeviceErrors(t *testing.T) {
	for s, want := range map[string]string{
		"nvme":                               "nvme: file= is missing",
		"nvme,file=mem:1M,seriel=1":          `seriel=1: nvme has no "seriel"; there are file, serial, ro`,
		"nvme,file=mem:1M,serial":            "serial: must be serial=S",
		"nvme,file=mem:1M,serial=A,serial=B": "given twice",
		"ahci,ports=99":                      "ports=99: must be a number from 1 to 32",
		"ahci,serial=1":                      "there is none without file=",
		"ahci,multiplier=16":                 "multiplier=16: must be a number from 1 to 15",
		"ahci,msi=3":                         "msi=3: must be 0 or a power of two",
		"ahci,ncq=maybe":                     "ncq=maybe: must be on or off",
		"ahci,ports=2,file=mem:1M":           "ports= is for an adapter alone",
		"virtio-net":                         "netdev= is missing",
		"virtio-net,netdev=user,ifname=x":    "ifname= is for tap",
		"virtio-net,netdev=smoke":            "must be tap, user or hub",
		"floppy":                             "there is no such device; there are ahci, nvme, virtio-blk",
		"virtio-9p":                          "begin with the folder",
		"virtio-vsock,cid=1,path=x":          "cid=1: must be a number from 3",
	} {
		var cfg machine.Config
		if err := cfg.AddDevice(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", s, err, want)
		}
	}
	var cfg machine.Config
	f := deviceFlags{devices: []string{"virtio-net,netdev=user,hostfwd=tcp::1-:2,hostfwd=tcp::3-:4", "e1000e,netdev=hub,pcap=x"}, captures: []string{"a.pcap"}}
	if err := f.configure(&cfg); err != nil || cfg.NICs[0].Pcap != "a.pcap" || len(cfg.NICs[0].Forwards) != 2 || cfg.NICs[1].Pcap != "x" || cfg.NICs[1].Model != "e1000e" {
		t.Errorf("%v %+v", err, cfg.NICs)
	}
	for _, captures := range [][]string{{"a", "b"}, {"a", "b", "c"}} {
		f.captures = captures
		var cfg machine.Config
		if err := f.configure(&cfg); err == nil {
			t.Errorf("captures %q: accepted", captures)
		}
	}
}

// TestModels checks that each key of each model that stands in the help is one that the model takes or refuses by its
// value, not by its name.
func TestModels(t *testing.T) {
	base := map[string]string{"file": "mem:1M", "netdev": "user", "dir": ".", "cid": "3", "path": "x", "ports": "1"}
	for _, m := range machine.Models() {
		for _, k := range m.Keys {
			s := m.Name
			for key, v := range base {
				if key != k.Name && slices.ContainsFunc(m.Keys, func(k machine.Key) bool { return k.Name == key }) && !(m.Name == "ahci" && key == "ports") {
					s += "," + key + "=" + v
				}
			}
			if v := base[k.Name]; v != "" {
				s += "," + k.Name + "=" + v
			} else if k.Value == "" {
				s += "," + k.Name
			} else {
				s += "," + k.Name + "=4"
			}
			var cfg machine.Config
			if err := cfg.AddDevice(s); err != nil && strings.Contains(err.Error(), "nknown") {
				t.Errorf("%s: %v", s, err)
			}
		}
	}
}
