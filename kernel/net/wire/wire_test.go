package wire

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
)

var (
	macA = MAC{0x52, 0x54, 0, 0, 0, 1}
	macB = MAC{0x52, 0x54, 0, 0, 0, 2}
	ipA  = netip.MustParseAddr("10.0.2.15")
	ipB  = netip.MustParseAddr("10.0.2.2")
)

// ping is an echo request as it is on the wire.
func ping() []byte {
	m := ICMP{Type: ICMPEcho, ID: 0x1234, Seq: 7, Data: []byte("odd")}.Append(nil)
	b := Ethernet{Dst: macB, Src: macA, Type: TypeIPv4}.Append(nil)
	return IPv4{ID: 99, TTL: 64, Protocol: ProtocolICMP, Src: ipA, Dst: ipB, DontFragment: true}.Append(b, m)
}

// TestPing compares a packet with one that was computed by hand, and reads it back with padding behind it.
func TestPing(t *testing.T) {
	want := []byte{
		0x52, 0x54, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 1, 8, 0,
		0x45, 0, 0, 31, 0, 99, 0x40, 0, 64, 1, 0x22, 0x6b, 10, 0, 2, 15, 10, 0, 2, 2,
		8, 0, 0x12, 0x60, 0x12, 0x34, 0, 7, 'o', 'd', 'd',
	}
	b := ping()
	if !bytes.Equal(b, want) {
		t.Fatalf("the packet is\n% x, want\n% x", b, want)
	}
	e, p, err := ParseEthernet(append(b, make([]byte, 15)...))
	if err != nil || e != (Ethernet{macB, macA, TypeIPv4}) {
		t.Fatalf("ethernet: %+v, %v", e, err)
	}
	h, p, err := ParseIPv4(p)
	if err != nil || h != (IPv4{ID: 99, TTL: 64, Protocol: ProtocolICMP, Src: ipA, Dst: ipB, DontFragment: true}) {
		t.Fatalf("ipv4: %+v, %v", h, err)
	}
	m, err := ParseICMP(p)
	if err != nil || m.Type != ICMPEcho || m.ID != 0x1234 || m.Seq != 7 || string(m.Data) != "odd" {
		t.Fatalf("icmp: %+v, %v", m, err)
	}
}

// TestDamage changes packets so that they must be refused.
func TestDamage(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(b []byte) []byte
		want   error
	}{
		{"cut in the header", func(b []byte) []byte { return b[:30] }, ErrShort},
		{"cut in the payload", func(b []byte) []byte { return b[:len(b)-1] }, ErrShort},
		{"version 6", func(b []byte) []byte { b[14] = 0x65; return b }, ErrFormat},
		{"header of 16 bytes", func(b []byte) []byte { b[14] = 0x44; return b }, ErrFormat},
		{"length below the header's", func(b []byte) []byte { b[17] = 19; return b }, ErrShort},
		{"a bit of the header", func(b []byte) []byte { b[22] ^= 1; return b }, ErrChecksum},
		{"a bit of the data", func(b []byte) []byte { b[44] ^= 1; return b }, ErrChecksum},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, p, err := ParseIPv4(c.change(ping())[EthernetLen:])
			if err == nil {
				_, err = ParseICMP(p)
			}
			if !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// TestARP writes and reads a request, and refuses others' protocols.
func TestARP(t *testing.T) {
	a := ARP{Op: ARPRequest, SenderMAC: macA, SenderIP: ipA, TargetIP: ipB}
	b := a.Append(nil)
	if got, err := ParseARP(append(b, 0, 0)); err != nil || got != a {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := ParseARP(b[:27]); !errors.Is(err, ErrShort) {
		t.Errorf("cut: %v", err)
	}
	b[1] = 6
	if _, err := ParseARP(b); !errors.Is(err, ErrFormat) {
		t.Errorf("another hardware: %v", err)
	}
}

// FuzzParse reads anything, and what is read must come back when it is written.
func FuzzParse(f *testing.F) {
	f.Add(ping())
	f.Add(append(Ethernet{Dst: macB, Src: macA, Type: TypeARP}.Append(nil), ARP{Op: ARPReply, SenderIP: ipA, TargetIP: ipB}.Append(nil)...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		_, p, err := ParseEthernet(b)
		if err != nil {
			return
		}
		if a, err := ParseARP(p); err == nil {
			if again, err := ParseARP(a.Append(nil)); err != nil || again != a {
				t.Fatalf("arp: %+v became %+v, %v", a, again, err)
			}
		}
		h, p, err := ParseIPv4(p)
		if err != nil {
			return
		}
		again, q, err := ParseIPv4(h.Append(nil, p))
		if err != nil || again != h || !bytes.Equal(p, q) {
			t.Fatalf("ipv4: %+v became %+v, %v", h, again, err)
		}
		m, err := ParseICMP(p)
		if err != nil {
			return
		}
		n, err := ParseICMP(m.Append(nil))
		if err != nil || n.Type != m.Type || n.Code != m.Code || n.ID != m.ID || n.Seq != m.Seq || !bytes.Equal(n.Data, m.Data) {
			t.Fatalf("icmp: %+v became %+v, %v", m, n, err)
		}
	})
}
