package network

import (
	"encoding/binary"
	"sync"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"dfemu/devices"
)

// link is the Ethernet between the guest and the TCP/IP stack, as the stack sees
// it: stack.LinkEndpoint and stack.GSOEndpoint. Segmentation is left to the guest, in both
// directions.
type link struct {
	u   *user
	mtu int

	mu   sync.RWMutex
	disp stack.NetworkDispatcher
}

// input takes a frame of the guest.
func (l *link) input(f *devices.Frame) {
	n := f.Len()
	if n < header.EthernetMinimumSize || n > maxFrame {
		return
	}
	l.mu.RLock()
	d := l.disp
	l.mu.RUnlock()
	if d == nil {
		return
	}
	// One copy: guest memory must not change once it is looked at.
	v := buffer.NewViewSize(n)
	b := v.AsSlice()
	if f.CopyTo(b, 0) != n {
		v.Release()
		return
	}
	switch binary.BigEndian.Uint16(b[12:]) {
	case uint16(header.IPv4ProtocolNumber):
		if reply := l.u.dhcp(b); reply != nil {
			v.Release()
			l.u.deliver([]devices.Frame{{Pieces: [][]byte{reply}}})
			return
		}
		if !l.u.admits(b) {
			v.Release()
			return
		}
	case uint16(header.ARPProtocolNumber):
	default:
		v.Release()
		return
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithView(v)})
	defer pkt.DecRef()
	if _, ok := pkt.LinkHeader().Consume(header.EthernetMinimumSize); !ok {
		return
	}
	eth := header.Ethernet(pkt.LinkHeader().Slice())
	switch dst := eth.DestinationAddress(); {
	case dst == header.EthernetBroadcastAddress:
		pkt.PktType = tcpip.PacketBroadcast
	case header.IsMulticastEthernetAddress(dst):
		pkt.PktType = tcpip.PacketMulticast
	case dst == l.LinkAddress():
		pkt.PktType = tcpip.PacketHost
	default:
		return // another station
	}
	pkt.RXChecksumValidated = true // it never left the machine
	d.DeliverNetworkPacket(eth.Type(), pkt)
}

// admits tells whether an IPv4 packet goes into the stack. The stack would answer
// pings in the name of any address.
func (u *user) admits(b []byte) bool {
	p := b[header.EthernetMinimumSize:]
	if len(p) < header.IPv4MinimumSize {
		return false
	}
	if p[9] != uint8(header.ICMPv4ProtocolNumber) {
		return true
	}
	dst := [4]byte(p[16:20])
	return dst == u.gateway.As4() || dst == u.dns.As4()
}

// WritePackets implements stack.LinkWriter.
func (l *link) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	list := pkts.AsSlice()
	frames := make([]devices.Frame, 0, len(list))
	for _, pkt := range list {
		f := devices.Frame{Pieces: pkt.AsSlices()}
		if g := pkt.GSOOptions; g.Type != stack.GSONone {
			f.HeaderLen = uint16(pkt.HeaderSize())
			if g.NeedsCsum {
				f.Flags = devices.FlagNeedsChecksum
				f.ChecksumStart = header.EthernetMinimumSize + g.L3HdrLen
				f.ChecksumOffset = g.CsumOffset
			}
			if pkt.Data().Size() > int(g.MSS) && g.Type == stack.GSOTCPv4 {
				f.GSO, f.SegmentSize = devices.GSOTCPv4, g.MSS
			}
		}
		frames = append(frames, f)
	}
	l.u.deliver(frames)
	return len(list), nil
}

// Attach implements stack.NetworkLinkEndpoint.
func (l *link) Attach(d stack.NetworkDispatcher) {
	l.mu.Lock()
	l.disp = d
	l.mu.Unlock()
}

// IsAttached implements stack.NetworkLinkEndpoint.
func (l *link) IsAttached() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.disp != nil
}

// MTU implements stack.NetworkLinkEndpoint.
func (l *link) MTU() uint32 { return uint32(l.mtu) }

// SetMTU implements stack.NetworkLinkEndpoint. The MTU is fixed.
func (l *link) SetMTU(uint32) {}

// MaxHeaderLength implements stack.NetworkLinkEndpoint.
func (l *link) MaxHeaderLength() uint16 { return header.EthernetMinimumSize }

// LinkAddress implements stack.NetworkLinkEndpoint.
func (l *link) LinkAddress() tcpip.LinkAddress { return tcpip.LinkAddress(gatewayMAC[:]) }

// SetLinkAddress implements stack.NetworkLinkEndpoint. The address is fixed.
func (l *link) SetLinkAddress(tcpip.LinkAddress) {}

// Capabilities implements stack.NetworkLinkEndpoint.
func (l *link) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityResolutionRequired | stack.CapabilityRXChecksumOffload
}

// Wait implements stack.NetworkLinkEndpoint.
func (l *link) Wait() {}

// ARPHardwareType implements stack.NetworkLinkEndpoint.
func (l *link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareEther }

// AddHeader implements stack.NetworkLinkEndpoint.
func (l *link) AddHeader(pkt *stack.PacketBuffer) {
	eth := header.Ethernet(pkt.LinkHeader().Push(header.EthernetMinimumSize))
	eth.Encode(&header.EthernetFields{
		SrcAddr: l.LinkAddress(), DstAddr: pkt.EgressRoute.RemoteLinkAddress, Type: pkt.NetworkProtocolNumber,
	})
}

// ParseHeader implements stack.NetworkLinkEndpoint.
func (l *link) ParseHeader(pkt *stack.PacketBuffer) bool {
	_, ok := pkt.LinkHeader().Consume(header.EthernetMinimumSize)
	return ok
}

// Close implements stack.NetworkLinkEndpoint.
func (l *link) Close() {}

// SetOnCloseAction implements stack.NetworkLinkEndpoint.
func (l *link) SetOnCloseAction(func()) {}

// GSOMaxSize implements stack.GSOEndpoint.
func (l *link) GSOMaxSize() uint32 {
	return 65535 - header.IPv4MaximumHeaderSize - header.TCPHeaderMaximumSize
}

// SupportedGSO implements stack.GSOEndpoint.
func (l *link) SupportedGSO() stack.SupportedGSO { return stack.HostGSOSupported }
