package network

import (
	"bytes"
	"encoding/binary"
	"testing"

	"dfemu/devices"
)

// packet makes a TCP or UDP frame that is to be segmented or summed: the checksum
// field has the pseudo-header's sum.
func packet(v6, udp bool, tags int, payload []byte, flags byte) ([]byte, devices.Offload) {
	b := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}
	for range tags {
		b = append(b, 0x81, 0, 0, 7)
	}
	th := 20
	proto := byte(6)
	o := devices.Offload{Flags: devices.FlagNeedsChecksum, GSO: devices.GSOTCPv4, ChecksumOffset: 16}
	if v6 {
		o.GSO = devices.GSOTCPv6
	}
	if udp {
		th, proto, o.GSO, o.ChecksumOffset = 8, 17, devices.GSOUDPL4, 6
	}
	be := binary.BigEndian
	ip := len(b) + 2
	if v6 {
		b = append(b, 0x86, 0xdd, 0x60, 0, 0, 0)
		b = be.AppendUint16(b, uint16(th+len(payload)))
		b = append(b, proto, 64)
		for i := range 32 {
			b = append(b, byte(i))
		}
	} else {
		b = append(b, 8, 0, 0x45, 0)
		b = be.AppendUint16(b, uint16(20+th+len(payload)))
		b = append(b, 0x12, 0xff, 0x40, 0, 64, proto, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2)
	}
	start := len(b)
	o.ChecksumStart = uint16(start)
	b = append(b, 0x30, 0x39, 0x00, 0x50)
	if udp {
		b = be.AppendUint16(b, uint16(8+len(payload)))
		b = append(b, 0, 0)
	} else {
		b = append(b, 0xff, 0xff, 0xff, 0xf0, 0, 0, 0, 1, 0x50, flags, 1, 0, 0, 0, 0, 0)
	}
	l := layers{ip: ip, transport: start, v6: v6, proto: proto}
	s := devices.Sum(0, pseudo(b, l)) + uint64(proto) + uint64(th+len(payload))
	be.PutUint16(b[start+int(o.ChecksumOffset):], devices.Fold(s))
	o.HeaderLen = uint16(len(b))
	return append(b, payload...), o
}

// valid checks lengths and checksums of a complete frame and returns its payload.
func valid(t *testing.T, b []byte) []byte {
	t.Helper()
	kind, ip := etherType(b)
	l := layers{ip: ip}
	be := binary.BigEndian
	if kind == 0x0800 {
		if s := devices.Fold(devices.Sum(0, b[ip:ip+20])); s != 0xffff {
			t.Errorf("IPv4 header sum %#x", s)
		}
		if n := int(be.Uint16(b[ip+2:])); ip+n != len(b) {
			t.Errorf("IPv4 length %d in a frame of %d", n, len(b))
		}
		l.transport, l.proto = ip+20, b[ip+9]
	} else {
		if n := int(be.Uint16(b[ip+4:])); ip+40+n != len(b) {
			t.Errorf("IPv6 length %d in a frame of %d", n, len(b))
		}
		l.transport, l.proto, l.v6 = ip+40, b[ip+6], true
	}
	s := devices.Sum(0, pseudo(b, l)) + uint64(l.proto) + uint64(len(b)-l.transport)
	if s := devices.Fold(devices.Sum(s, b[l.transport:])); s != 0xffff {
		t.Errorf("transport sum %#x", s)
	}
	if l.proto == 17 {
		if n := int(be.Uint16(b[l.transport+4:])); n != len(b)-l.transport {
			t.Errorf("UDP length %d, want %d", n, len(b)-l.transport)
		}
		return b[l.transport+8:]
	}
	return b[l.transport+20:]
}

func flat(f devices.Frame) []byte { return bytes.Join(f.Pieces, nil) }

func TestSegment(t *testing.T) {
	data := make([]byte, 5001)
	for i := range data {
		data[i] = byte(i * 13)
	}
	for _, c := range []struct {
		name    string
		v6, udp bool
		tags    int
	}{{"tcp4", false, false, 0}, {"tcp6", true, false, 0}, {"tcp4 tagged", false, false, 1}, {"udp4", false, true, 0}, {"udp6", true, true, 2}} {
		t.Run(c.name, func(t *testing.T) {
			b, o := packet(c.v6, c.udp, c.tags, data, tcpFIN|tcpPSH|tcpCWR|0x10)
			o.SegmentSize = 1000
			if !c.udp {
				o.GSO |= devices.GSOECN
			}
			var s completer
			f := devices.Frame{Offload: o, Pieces: [][]byte{b[:7], b[7:60], b[60:]}}
			l := s.complete(&f, devices.OffloadChecksum)
			if len(l) != 6 {
				t.Fatalf("%d segments, want 6", len(l))
			}
			var got []byte
			for i, f := range l {
				p := flat(f)
				part := valid(t, p)
				got = append(got, part...)
				if f.Offload != (devices.Offload{}) {
					t.Errorf("segment %d: offload %+v", i, f.Offload)
				}
				if c.udp {
					continue
				}
				h := p[len(p)-len(part)-20:]
				if seq := binary.BigEndian.Uint32(h[4:]); seq != 0xfffffff0+uint32(1000*i) {
					t.Errorf("segment %d: sequence number %#x", i, seq)
				}
				want := byte(0x10)
				if i == 0 {
					want |= tcpCWR
				}
				if i == 5 {
					want |= tcpFIN | tcpPSH
				}
				if h[13] != want {
					t.Errorf("segment %d: flags %#x, want %#x", i, h[13], want)
				}
				if !c.v6 {
					if id := binary.BigEndian.Uint16(p[len(p)-len(part)-36:]); id != 0x12ff+uint16(i) {
						t.Errorf("segment %d: identification %#x", i, id)
					}
				}
			}
			if !bytes.Equal(got, data) {
				t.Error("payload differs")
			}
			if l := s.complete(&f, devices.OffloadsAll); len(l) != 1 || &l[0].Pieces[0][0] != &b[0] {
				t.Error("a frame that its receiver takes was touched")
			}
		})
	}
}

func TestSum(t *testing.T) {
	for _, n := range []int{0, 1, 2, 999} {
		for _, udp := range []bool{false, true} {
			b, o := packet(false, udp, 0, bytes.Repeat([]byte{0xab}, n), 0x10)
			o.GSO = 0
			sumIPv4(b[14:34])
			orig := bytes.Clone(b)
			var s completer
			l := s.complete(&devices.Frame{Offload: o, Pieces: [][]byte{b}}, 0)
			if len(l) != 1 {
				t.Fatal("frame lost")
			}
			valid(t, flat(l[0]))
			if !bytes.Equal(b, orig) {
				t.Error("the sender's memory was changed")
			}
		}
	}
}

func TestNonsense(t *testing.T) {
	b, o := packet(false, false, 0, make([]byte, 100), 0)
	o.SegmentSize = 50
	many, mo := packet(false, false, 0, make([]byte, maxSegments+1), 0)
	mo.SegmentSize = 1
	var c completer
	if l := c.complete(&devices.Frame{Offload: mo, Pieces: [][]byte{many}}, 0); len(l) != 0 {
		t.Errorf("%d segments of one frame", len(l))
	}
	for name, change := range map[string]func([]byte, *devices.Offload) []byte{
		"no segment size":      func(b []byte, o *devices.Offload) []byte { o.SegmentSize = 0; return b },
		"start outside":        func(b []byte, o *devices.Offload) []byte { o.ChecksumStart = 60000; return b },
		"start in the middle":  func(b []byte, o *devices.Offload) []byte { o.ChecksumStart = 20; return b },
		"no payload":           func(b []byte, o *devices.Offload) []byte { return b[:54] },
		"cut off":              func(b []byte, o *devices.Offload) []byte { return b[:40] },
		"short TCP header":     func(b []byte, o *devices.Offload) []byte { b[46] = 0x40; return b },
		"long TCP header":      func(b []byte, o *devices.Offload) []byte { b[46] = 0xf0; return b[:90] },
		"other type":           func(b []byte, o *devices.Offload) []byte { b[12] = 9; return b },
		"other version":        func(b []byte, o *devices.Offload) []byte { b[14] = 0x65; return b },
		"v6 said":              func(b []byte, o *devices.Offload) []byte { o.GSO = devices.GSOTCPv6; return b },
		"udp said":             func(b []byte, o *devices.Offload) []byte { o.GSO = devices.GSOUDPL4; return b },
		"empty":                func([]byte, *devices.Offload) []byte { return nil },
		"larger than possible": func([]byte, *devices.Offload) []byte { return make([]byte, maxFrame+1) },
	} {
		o := o
		var s completer
		p := change(bytes.Clone(b), &o)
		if l := s.complete(&devices.Frame{Offload: o, Pieces: [][]byte{p}}, devices.OffloadChecksum); len(l) != 0 {
			t.Errorf("%s: %d frames", name, len(l))
		}
	}
}

// FuzzComplete gives frames and offloads of any content.
func FuzzComplete(f *testing.F) {
	for _, v6 := range []bool{false, true} {
		b, o := packet(v6, false, 1, make([]byte, 300), 0x18)
		f.Add(b, o.Flags, o.GSO, uint16(100), o.ChecksumStart, o.ChecksumOffset, byte(0))
		b, o = packet(v6, true, 0, make([]byte, 300), 0)
		f.Add(b, o.Flags, o.GSO, uint16(1), o.ChecksumStart, o.ChecksumOffset, byte(1))
	}
	f.Fuzz(func(t *testing.T, b []byte, flags, gso uint8, size, start, field uint16, takes byte) {
		o := devices.Offload{Flags: flags, GSO: gso, SegmentSize: size, ChecksumStart: start, ChecksumOffset: field}
		var s completer
		can := devices.Offloads(takes) & devices.OffloadsAll
		for _, x := range s.complete(&devices.Frame{Offload: o, Pieces: [][]byte{b}}, can) {
			if x.Needs()&^can != 0 {
				t.Fatalf("%+v is not complete", x.Offload)
			}
			if x.Len() > len(b) {
				t.Fatalf("%d bytes became %d", len(b), x.Len())
			}
		}
	})
}

func BenchmarkSegment(b *testing.B) {
	p, o := packet(false, false, 0, make([]byte, 64000), 0x10)
	o.SegmentSize = 1448
	f := devices.Frame{Offload: o, Pieces: [][]byte{p}}
	var s completer
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		s.complete(&f, 0)
	}
}
