package net

import (
	"encoding/binary"
	"errors"
	"fmt"

	"dfemu/devices"
	"dfemu/devices/virtio"
)

// A ctrl is a command of the control queue, read and understood as far as its
// class goes.
type ctrl struct {
	class, code uint8
	data        []byte
}

func (k *ctrl) op() uint32 { return uint32(k.class)<<8 | uint32(k.code) }

func (k *ctrl) name() string {
	if s := controlNames[k.op()]; s != "" {
		return s
	}
	return fmt.Sprintf("control class %d command %d", k.class, k.code)
}

// controlNames are the commands by class<<8 | command.
var controlNames = map[uint32]string{
	classRx<<8 | rxPromisc: "VIRTIO_NET_CTRL_RX_PROMISC", classRx<<8 | rxAllMulti: "VIRTIO_NET_CTRL_RX_ALLMULTI",
	classRx<<8 | rxAllUni: "VIRTIO_NET_CTRL_RX_ALLUNI", classRx<<8 | rxNoMulti: "VIRTIO_NET_CTRL_RX_NOMULTI",
	classRx<<8 | rxNoUni: "VIRTIO_NET_CTRL_RX_NOUNI", classRx<<8 | rxNoBcast: "VIRTIO_NET_CTRL_RX_NOBCAST",
	classMAC<<8 | macTableSet: "VIRTIO_NET_CTRL_MAC_TABLE_SET", classMAC<<8 | macAddrSet: "VIRTIO_NET_CTRL_MAC_ADDR_SET",
	classVLAN<<8 | vlanAdd: "VIRTIO_NET_CTRL_VLAN_ADD", classVLAN<<8 | vlanDel: "VIRTIO_NET_CTRL_VLAN_DEL",
	classAnnounce<<8 | announceAck: "VIRTIO_NET_CTRL_ANNOUNCE_ACK", classMQ<<8 | mqPairsSet: "VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET",
	classOffloads<<8 | offloadsSet: "VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET",
}

// maxControl bounds the data of a command: two tables of addresses far beyond
// what is kept.
const maxControl = 64 << 10

var errControl = errors.New("a control chain without class, command and ack")

// serveControl answers the commands there are.
func (d *Device) serveControl() {
	for {
		a := d.active.Load()
		if a == nil || a.features&featureCtrlVQ == 0 {
			return
		}
		q := d.Queue(d.controlQueue(a.features))
		c, _ := q.Next()
		if c == nil {
			return
		}
		d.answer(a, q, c)
	}
}

func (d *Device) answer(a *agreed, q *virtio.Queue, c *virtio.Chain) {
	k, err := readControl(c)
	if err != nil {
		d.violation(q.Index(), "5.1.6.5", "%v", err)
		q.Broken(err)
		q.Push(c, 0)
		return
	}
	probe := d.Function().Probe()
	cmd := &devices.Command{Queue: q.Index(), Tag: int(c.ID()), Opcode: k.op(), Admin: true, Name: k.name(), Bytes: uint64(len(k.data)), Write: true}
	probe.Command(cmd)
	e := probe.Decide(cmd)
	if e.Delay > 0 && d.delayed.Works() {
		t := q.Detach(c)
		d.delayed.After(e.Delay, func() {
			if c := q.Attach(t); c != nil {
				d.complete(a, q, c, k, cmd, e)
			}
		})
		return
	}
	d.complete(a, q, c, k, cmd, e)
}

// complete carries a command out and posts the answer.
func (d *Device) complete(a *agreed, q *virtio.Queue, c *virtio.Chain, k ctrl, cmd *devices.Command, e devices.Effect) {
	if e.Hang {
		q.Detach(c)
		return
	}
	ack := byte(ackErr)
	devices.Flip(k.data, 0, e.Flips(uint64(len(k.data))))
	if e.ShortOn {
		k.data = k.data[:min(max(e.Short, 0), int64(len(k.data)))]
	}
	switch {
	case e.Fail && e.Status != 0:
		ack = byte(e.Status)
	case e.Fail:
	default:
		if err := d.do(a, k); err == nil {
			ack = ackOK
		} else {
			d.violation(q.Index(), "5.1.6.5", "%s: %v", cmd.Name, err)
		}
	}
	if err := c.Write(0, []byte{ack}); err != nil {
		q.Broken(err)
		q.Push(c, 0)
		return
	}
	name := "VIRTIO_NET_OK"
	if ack != ackOK {
		name = "VIRTIO_NET_ERR"
	}
	// Commands come one at a time: there is no later one to wait for.
	e.Hold = 0
	q.Finish(c, 1, &e)
	d.Function().Probe().Completion(cmd, devices.Status{Code: uint32(ack), Name: name})
}

func readControl(c *virtio.Chain) (ctrl, error) {
	n := virtio.Total(c.Out)
	if n < 2 || n > maxControl || virtio.Total(c.In) < 1 {
		return ctrl{}, errControl
	}
	b := make([]byte, n)
	if err := c.Read(0, b); err != nil {
		return ctrl{}, err
	}
	return ctrl{b[0], b[1], b[2:]}, nil
}

var (
	errUnknown = errors.New("no such command")
	errLength  = errors.New("its data have another length")
	errFeature = errors.New("its feature was not negotiated")
)

// permits tells whether there is such a class of commands, and its feature was negotiated.
func (a *agreed) permits(k ctrl) error {
	need := map[uint8]uint64{
		classRx: featureCtrlRx, classMAC: featureCtrlRx, classVLAN: featureCtrlVLAN,
		classAnnounce: featureGuestAnnounce, classMQ: featureMQ, classOffloads: featureCtrlGuestOffload,
	}[k.class]
	switch {
	case k.class == classRx && k.code > rxAllMulti:
		need = featureCtrlRxExtra
	case k.class == classMAC && k.code == macAddrSet:
		need = featureCtrlMACAddr
	}
	if need == 0 {
		return errUnknown
	}
	if a.features&need == 0 {
		return errFeature
	}
	return nil
}

// do carries a command out (section 5.1.6.5).
func (d *Device) do(a *agreed, k ctrl) error {
	if err := a.permits(k); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.active.Load() == nil {
		return errors.New("the device was reset")
	}
	defer d.publish()
	if err := d.carryOut(&d.state, a, k); err != nil {
		return err
	}
	if k.class == classMQ || k.class == classOffloads {
		d.agree(a.features)
	}
	return nil
}

// foreseeControl is what do would say of a command, without doing it.
func (d *Device) foreseeControl(a *agreed, k ctrl) error {
	if err := a.permits(k); err != nil {
		return err
	}
	return d.carryOut(&state{}, a, k)
}

// carryOut makes what a command asks for of a state. The command is one that is permitted.
func (d *Device) carryOut(s *state, a *agreed, k ctrl) error {
	switch k.class {
	case classRx:
		return s.setMode(k)
	case classMAC:
		return s.setMAC(k)
	case classVLAN:
		return s.setVLAN(k)
	case classAnnounce:
		if k.code != announceAck {
			return errUnknown
		}
		s.Announce = false
		return nil
	case classMQ:
		n, err := d.parsePairs(k)
		if err == nil {
			s.Pairs = n
		}
		return err
	}
	v, err := a.parseOffloads(k)
	if err == nil {
		s.Offloads = v
	}
	return err
}

func (s *state) setMode(k ctrl) error {
	modes := [...]*bool{rxPromisc: &s.Promisc, rxAllMulti: &s.AllMulti, rxAllUni: &s.AllUni, rxNoMulti: &s.NoMulti, rxNoUni: &s.NoUni, rxNoBcast: &s.NoBcast}
	if int(k.code) >= len(modes) {
		return errUnknown
	}
	if len(k.data) != 1 {
		return errLength
	}
	*modes[k.code] = k.data[0] != 0
	return nil
}

func (s *state) setMAC(k ctrl) error {
	switch k.code {
	case macAddrSet:
		if len(k.data) != macSize {
			return errLength
		}
		s.MAC = [6]byte(k.data)
		return nil
	case macTableSet:
	default:
		return errUnknown
	}
	uni, many, rest, err := macTable(k.data)
	if err != nil {
		return err
	}
	multi, manyMulti, rest, err := macTable(rest)
	if err != nil {
		return err
	}
	if len(rest) != 0 {
		return errLength
	}
	s.Unicast, s.ManyUnis, s.Multicast, s.ManyMultis = uni, many, multi, manyMulti
	return nil
}

// macTable reads one struct virtio_net_ctrl_mac.
func macTable(p []byte) (l [][6]byte, many bool, rest []byte, err error) {
	if len(p) < 4 {
		return nil, false, nil, errLength
	}
	n := binary.LittleEndian.Uint32(p)
	p = p[4:]
	if uint64(n)*macSize > uint64(len(p)) {
		return nil, false, nil, errLength
	}
	rest = p[n*macSize:]
	if n > maxMACs {
		return nil, true, rest, nil
	}
	for i := range n {
		l = append(l, [6]byte(p[i*macSize:]))
	}
	return l, false, rest, nil
}

func (s *state) setVLAN(k ctrl) error {
	if k.code > vlanDel {
		return errUnknown
	}
	if len(k.data) != 2 {
		return errLength
	}
	id := binary.LittleEndian.Uint16(k.data)
	if id > 4095 {
		return fmt.Errorf("no VLAN %d", id)
	}
	s.VLANs[id/64] &^= 1 << (id % 64)
	if k.code == vlanAdd {
		s.VLANs[id/64] |= 1 << (id % 64)
	}
	return nil
}

// parsePairs returns the number of queue pairs that a command asks for.
func (d *Device) parsePairs(k ctrl) (int, error) {
	if k.code != mqPairsSet {
		return 0, errUnknown
	}
	if len(k.data) != 2 {
		return 0, errLength
	}
	n := int(binary.LittleEndian.Uint16(k.data))
	if n < 1 || n > d.o.Pairs {
		return 0, fmt.Errorf("%d queue pairs: the device has %d", n, d.o.Pairs)
	}
	return n, nil
}

// parseOffloads returns the offloads that a command asks for.
func (a *agreed) parseOffloads(k ctrl) (uint64, error) {
	if k.code != offloadsSet {
		return 0, errUnknown
	}
	if len(k.data) != 8 {
		return 0, errLength
	}
	v := binary.LittleEndian.Uint64(k.data)
	if v&^(a.features&guestOffloads) != 0 {
		return 0, fmt.Errorf("offloads %#x were not all negotiated", v)
	}
	return v, nil
}
