package network

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func TestParseNIC(t *testing.T) {
	for s, want := range map[string]Options{
		"tap":  {Kind: "tap", Model: "virtio"},
		"user": {Kind: "user", Model: "virtio"},
		"tap,model=e1000e,ifname=tap0,mac=52:54:00:12:34:56,bridge=br0,mtu=9000,pcap=a.pcap": {
			Kind: "tap", Model: "e1000e", Interface: "tap0", MAC: [6]byte{0x52, 0x54, 0, 0x12, 0x34, 0x56}, Bridge: "br0", MTU: 9000, Pcap: "a.pcap"},
		"tap,fd=3:4,queues=2":     {Kind: "tap", Model: "virtio", FDs: []int{3, 4}, Queues: 2},
		"tap,addr=192.168.7.1/24": {Kind: "tap", Model: "virtio", HostAddress: netip.MustParsePrefix("192.168.7.1/24")},
		"user,hostfwd=tcp::2222-:22,hostfwd=udp:0.0.0.0:53-10.0.2.9:5353,net=10.1.0.0/16,isolated,hostname=a,dns=1.1.1.1:53": {
			Kind: "user", Model: "virtio", Network: netip.MustParsePrefix("10.1.0.0/16"), Isolated: true, HostName: "a", DNSServer: "1.1.1.1:53",
			Forwards: []Forward{
				{Host: netip.MustParseAddrPort("127.0.0.1:2222"), GuestPort: 22},
				{UDP: true, Host: netip.MustParseAddrPort("0.0.0.0:53"), GuestAddr: netip.MustParseAddr("10.0.2.9"), GuestPort: 5353},
			}},
		"hub,name=lan,listen=unix:/tmp/x,connect=tcp:a:1": {Kind: "hub", Model: "virtio", Hub: "lan", Listen: "unix:/tmp/x", Dial: "tcp:a:1"},
		"hub,udp=127.0.0.1:1,peer=127.0.0.1:2":            {Kind: "hub", Model: "virtio", UDP: "127.0.0.1:1", UDPPeer: "127.0.0.1:2"},
	} {
		got, err := ParseNIC(s)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", s, got, err, want)
		}
	}
	for s, want := range map[string]string{
		"":                            "no kind",
		"bridge":                      "must be tap, user or hub",
		"tap,model=rtl8139":           "must be virtio or e1000e",
		"tap,mac=01:00:00:00:00:01":   "single station",
		"tap,mac=1:2:3":               "six bytes",
		"tap,mac=52:54:00:12:34:567":  "six bytes",
		"tap,mac=00:00:00:00:00:00":   "single station",
		"tap,hostfwd=tcp::1-:2":       "is for user",
		"user,ifname=x":               "is for tap",
		"tap,ifname=abcdefghijklmnop": "at most 15",
		"tap,ifname=a,ifname=b":       "twice",
		"tap,ifname=a,fd=3":           "exclude",
		"tap,fd=3,queues=2":           "with 1 descriptors",
		"tap,fd=x":                    "must be a number",
		"tap,mtu=67":                  "68 to",
		"tap,model=e1000e,queues=2":   "is for model=virtio",
		"tap,ifname":                  "VALUE",
		"tap,ifname=":                 "VALUE",
		"tap,,":                       "KEY",
		"tap,speed=1":                 "unknown key",
		"tap,addr=fe80::1/64":         "IPv4",
		"user,hostfwd=tcp:2222-22":    "must be tcp|udp",
		"user,hostfwd=icmp::1-:2":     "must be tcp|udp",
		"user,hostfwd=tcp::1-:0":      "must be tcp|udp",
		"user,hostfwd=tcp:x:1-:2":     "must be tcp|udp",
		"user,hostfwd=tcp::70000-:2":  "must be tcp|udp",
		"user,net=10.0.0.0/30":        "8 to 28",
		"user,isolated=maybe":         "on or off",
		"user,dns=localhost":          "ADDRESS:PORT",
		"hub,listen=/tmp/x":           "unix:PATH",
		"hub,udp=127.0.0.1:1":         "go together",
	} {
		if o, err := ParseNIC(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, error %v; want %q in it", s, o, err, want)
		}
	}
}

func TestDefaultMAC(t *testing.T) {
	if DefaultMAC("user", 1) != [6]byte{0x52, 0x54, 0, 0x12, 0x34, 0x57} {
		t.Errorf("% x", DefaultMAC("user", 1))
	}
	a, b := DefaultMAC("hub", 0), DefaultMAC("hub", 0)
	if a == b || a[0] != 0x52 || b[0] != 0x52 {
		t.Errorf("% x and % x", a, b)
	}
}

func FuzzParseNIC(f *testing.F) {
	f.Add("tap,model=e1000e,ifname=tap0,mac=52:54:00:12:34:56")
	f.Add("user,hostfwd=tcp:[::1]:2222-10.0.2.15:22,net=10.1.0.0/16")
	f.Add("hub,listen=unix:/tmp/x,udp=a:1,peer=b:2")
	f.Fuzz(func(t *testing.T, s string) {
		o, err := ParseNIC(s)
		if err != nil {
			return
		}
		for _, w := range o.Forwards {
			if again, err := ParseForward(w.String()); err != nil && !w.Host.Addr().Is6() || err == nil && again.GuestPort != w.GuestPort {
				t.Errorf("%v reads back as %v, %v", w, again, err)
			}
		}
	})
}
