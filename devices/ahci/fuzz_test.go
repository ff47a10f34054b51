package ahci_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"dfemu/devices"
	"dfemu/devices/ahci"
	"dfemu/devices/ahci/ata"
	"dfemu/devices/ahci/atapi"
	"dfemu/devices/devtest"
	"dfemu/devices/pci"
)

// FuzzAdapter lets a guest loose on an adapter with a disk, an optical drive and a
// port multiplier: registers, command lists and tables of any content, resets and
// hot-plug at any moment. It must come to rest, and work after a reset.
//
// Each step of the input has 8 bytes: what to do, three bytes of where, four of what.
func FuzzAdapter(f *testing.F) {
	devtest.HostileMemory(f)
	step := func(op byte, where uint32, v uint32) []byte {
		return binary.LittleEndian.AppendUint32([]byte{op, byte(where), byte(where >> 8), byte(where >> 16)}, v)
	}
	reg := func(off uint64, v uint32) []byte { return step(0, uint32(off), v) }
	mem := func(addr uint64, v uint32) []byte { return step(1, uint32(addr), v) }
	var started []byte
	for p := range 3 {
		started = bytes.Join([][]byte{started, reg(pr(p, pCLB), uint32(listAt(p))), reg(pr(p, pFB), uint32(rxAt(p))), reg(pr(p, pCMD), 0x17)}, nil)
	}
	header := func(p, slot int, first uint32) []byte {
		l := uint64(listAt(p)) + uint64(slot)*32
		return append(mem(l, first), mem(l+8, uint32(tableAt(p, slot)))...)
	}
	prd := func(p, slot int, addr, n uint32) []byte {
		e := tableAt(p, slot) + 0x80
		return append(mem(e, addr), mem(e+12, n-1)...)
	}
	f.Add([]byte{})
	f.Add(started)
	f.Add(bytes.Join([][]byte{started, header(0, 0, 5|1<<16), mem(tableAt(0, 0), 0xec8027), prd(0, 0, 0x20000, 512), reg(pr(0, pCI), 1)}, nil))
	f.Add(bytes.Join([][]byte{started, header(0, 1, 5|1<<16), mem(tableAt(0, 1), 0x08608027), mem(tableAt(0, 1)+12, 8), prd(0, 1, 0x20000, 4096),
		reg(pr(0, pSACT), 2), reg(pr(0, pCI), 2), step(3, 0, 0), reg(rGHC, 1), step(5, 0, 0)}, nil))
	f.Add(bytes.Join([][]byte{started, header(1, 0, 5|1<<5|1<<16), mem(tableAt(1, 0), 0x1a08027), mem(tableAt(1, 0)+0x40, 0x12), mem(tableAt(1, 0)+0x44, 96),
		prd(1, 0, 0x20000, 96), reg(pr(1, pCI), 1), step(6, 1, 0)}, nil))
	f.Add(bytes.Join([][]byte{started, header(2, 0, 5|15<<12), mem(tableAt(2, 0), 0xe48f27), reg(pr(2, pCI), 1), reg(pr(2, pFBS), 1), step(7, 0, 0)}, nil))
	f.Add(bytes.Join([][]byte{started, header(0, 0, 0xffff0005), mem(tableAt(0, 0), 0x258027), mem(tableAt(0, 0)+12, 0), prd(0, 0, 0xfffffffe, 0), reg(pr(0, pCI), 0xffffffff)}, nil))
	f.Add(bytes.Join([][]byte{started, header(0, 3, 5|1<<8|1<<10), mem(tableAt(0, 3), 0x27), mem(tableAt(0, 3)+12, 4<<24), reg(pr(0, pCI), 8),
		reg(pr(0, pSCTL), 1), reg(pr(0, pSCTL), 0), step(4, 0, 0)}, nil))
	f.Fuzz(wild)
}

// FuzzState restores states of any content.
func FuzzState(f *testing.F) {
	h, _ := start1(f, ahci.Options{}, ata.Options{})
	h.dev.Pause()
	good, err := h.dev.SaveState()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(bytes.Replace(good, []byte(`"Requests":null`), []byte(`"Requests":[{"Slot":3,"Phase":1,"FIS":"`+"AAAA"+`"}]`), 1))
	f.Add([]byte(`{"Version":1}`))
	f.Fuzz(func(t *testing.T, p []byte) {
		h, _ := start1(t, ahci.Options{}, ata.Options{})
		h.dev.Pause()
		_ = h.dev.RestoreState(p)
		h.dev.Resume()
		h.dev.Reset()
		h.enable()
		h.start(0)
		h.identify(0)
	})
}

// wild is a guest and an operator that do what p says.
func wild(t *testing.T, p []byte) {
	h := newHBA(t, ahci.Options{Ports: 3, PortMultipliers: true, FISSwitching: len(p)&8 != 0})
	w := &watcher{}
	if len(p)&16 != 0 {
		h.dev.Function().Probe().Watch(allClasses|devices.ClassPrompt, w, w)
		w.effect = func(c *devices.Command) devices.Effect {
			switch c.LBA % 8 {
			case 1:
				return devices.Effect{Delay: 10}
			case 2:
				return devices.Effect{Hold: 1, Duplicate: true}
			case 3:
				return devices.Effect{Fail: true, Status: uint32(c.LBA)}
			case 4:
				return devices.Effect{FlipData: 2, FlipTable: 2 << (c.LBA % 30), Seed: c.LBA}
			}
			return devices.Effect{}
		}
	}
	store := devices.Block(newStore(t, 64<<10))
	if len(p)%4 == 3 {
		store = devtest.NewFile(t, make([]byte, 64<<10)) // whose reads land later
	}
	disk := h.diskOn(0, ata.Options{}, store)
	optical, err := atapi.New(atapi.Options{Name: "cd"})
	if err != nil {
		t.Fatal(err)
	}
	if err := optical.Insert(newStore(t, 64<<10)); err != nil {
		t.Fatal(err)
	}
	if err := h.dev.Attach(1, optical); err != nil {
		t.Fatal(err)
	}
	m, err := h.dev.AttachMultiplier(2, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Attach(0, h.newDisk(ata.Options{}, newStore(t, 64<<10))); err != nil {
		t.Fatal(err)
	}
	out := false
	for n := 0; len(p) >= 8 && n < 2000; p, n = p[8:], n+1 {
		where := uint64(p[1]) | uint64(p[2])<<8 | uint64(p[3])<<16
		v := binary.LittleEndian.Uint32(p[4:])
		switch p[0] % 9 {
		case 0:
			size := []int{4, 4, 4, 8, 2, 1}[int(p[0]/9)%6]
			h.mmio.Write(abar+where&0xfff&^uint64(size-1), size, uint64(v))
			h.mmio.Read(abar+where&0xfff&^uint64(size-1), size)
		case 1:
			// The guest writes its tables while nothing reads them.
			h.dev.Pause()
			h.put32(where&(ramSize/2-4), v)
			h.dev.Resume()
		case 2:
			h.clock.Advance(int64(v))
		case 3:
			h.dev.Pause()
			state, err := h.dev.SaveState()
			if err == nil {
				err = h.dev.RestoreState(state)
			}
			if err != nil {
				t.Fatal(err)
			}
			h.dev.Resume()
		case 4:
			if out {
				err = h.dev.Attach(0, disk)
			} else {
				_, err = h.dev.Detach(0)
			}
			out = !out
			if err != nil {
				t.Fatal(err)
			}
		case 5:
			h.dev.Reset()
			h.enable()
			for i := range 3 {
				h.pset(i, pCLB, uint32(listAt(i)))
				h.pset(i, pFB, uint32(rxAt(i)))
			}
		case 6:
			if b, err := optical.Eject(v&1 != 0); err == nil && b != nil {
				_ = optical.Insert(b)
			}
		case 7:
			_ = h.dev.SetLink(int(where&3), v&1 != 0)
		case 8:
			h.dev.Function().WriteConfig(pci.RegCommand, 2, v&7)
		}
	}
	h.dev.Reset()
	h.enable()
	h.dev.Function().Probe().Watch(0, nil, nil)
	for i := range 3 {
		_ = h.dev.SetLink(i, true)
	}
	if out {
		if err := h.dev.Attach(0, disk); err != nil {
			t.Fatal(err)
		}
	}
	h.start(0)
	h.identify(0)
}

// TestRandomGuests are wild guests that know enough of the adapter to get far.
func TestRandomGuests(t *testing.T) {
	rounds := 80
	if n, err := strconv.Atoi(os.Getenv("AHCI_ROUNDS")); err == nil {
		rounds = n
	}
	for i := range rounds {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			wild(t, randomGuest(rand.New(rand.NewPCG(uint64(i), 1))))
		})
	}
}

// randomGuest makes up the steps of one.
func randomGuest(r *rand.Rand) []byte {
	var p []byte
	step := func(op byte, where uint64, v uint32) {
		p = binary.LittleEndian.AppendUint32(append(p, op, byte(where), byte(where>>8), byte(where>>16)), v)
	}
	for port := range 3 {
		step(0, pr(port, pCLB), uint32(listAt(port)))
		step(0, pr(port, pFB), uint32(rxAt(port)))
		step(0, pr(port, pIE), r.Uint32())
		step(0, pr(port, pCMD), 0x17)
	}
	registers := []uint64{pCLB, pFB, pIS, pIE, pCMD, pCMD, pSCTL, pSCTL, pSERR, pSACT, pCI, pFBS, 0x44}
	commands := []byte{0x25, 0x35, 0x60, 0x61, 0x60, 0x61, 0xec, 0xa1, 0xa0, 0xa0, 0x06, 0x64, 0x65, 0x63, 0xb0, 0x2f, 0xea, 0xef, 0xe6, 0xe4, 0xe8, 0x20, 0x30, 0xc4, 0x44, 0x45}
	pick := func(l []byte) byte { return l[r.IntN(len(l))] }
	for range 40 {
		port, slot := r.IntN(3), r.IntN(4)
		switch r.IntN(12) {
		case 0:
			off, v := registers[r.IntN(len(registers))], r.Uint32()>>r.IntN(32)
			if off == pCLB || off == pFB {
				// Apart from what else is in memory, for the race detector's sake.
				v = v&0xfffff | 0x400000<<(off/pFB)
			}
			step(0, pr(port, off), v)
		case 1:
			step(0, pr(port, pCMD), uint32([]uint32{0x16, 0x17, 0x1f, 0x6, 0x20000017}[r.IntN(5)]))
		case 2:
			step(0, pr(port, pSCTL), uint32(r.IntN(6)))
		case 3:
			step(byte(2+r.IntN(7)), uint64(r.IntN(4)), r.Uint32()>>r.IntN(32))
		case 4:
			step(0, []uint64{rGHC, rIS, rCCC, rCCCPorts, rBOHC}[r.IntN(5)], r.Uint32()>>r.IntN(32))
		default:
			l, tab := listAt(port)+uint64(slot)*32, tableAt(port, slot)
			cmd := pick(commands)
			prds := uint32(r.IntN(4))
			pmp := byte(0)
			if port == 2 {
				pmp = pick([]byte{0, 0, 1, 15, 7})
			}
			flags := uint32(r.IntN(16)) << 5 &^ (uint32(r.IntN(2)) << 8)
			if cmd == 0xa0 {
				flags |= 1 << 5
			}
			step(1, l, 5|flags|prds<<16|uint32(pmp)<<12)
			step(1, l+8, uint32(tab))
			c := byte(0x80)
			if r.IntN(12) == 0 {
				c = 0
			}
			count := uint32(r.IntN(9))
			feature := pick([]byte{0, 1, 2, 8, 0xd0, 0xd5, 3})
			if cmd&0xf0 == 0x60 {
				count = uint32(slot) << 3
			}
			step(1, tab, uint32(0x27)|uint32(c|pmp)<<8|uint32(cmd)<<16|uint32(feature)<<24)
			step(1, tab+4, uint32(r.IntN(140))|0x40<<24)
			step(1, tab+8, uint32(r.IntN(2)*r.IntN(256)))
			step(1, tab+12, count|uint32(r.IntN(2))<<26)
			step(1, tab+0x40, uint32(pick([]byte{0, 3, 0x12, 0x28, 0x25, 0x43, 0x1b, 0x55, 0xbe, 0x4a, 0x46})))
			step(1, tab+0x44, r.Uint32()>>r.IntN(32))
			step(1, tab+0x48, r.Uint32()>>r.IntN(32))
			for i := range uint64(prds) {
				addr := uint32(0x200000 + r.IntN(0x10000))
				if r.IntN(10) == 0 {
					addr = r.Uint32() | ramSize
				}
				step(1, tab+0x80+16*i, addr)
				step(1, tab+0x80+16*i+12, uint32(r.IntN(5000))|uint32(r.IntN(2))<<31)
			}
			if cmd&0xf0 == 0x60 || r.IntN(10) == 0 {
				step(0, pr(port, pSACT), 1<<slot)
			}
			step(0, pr(port, pCI), 1<<slot)
		}
	}
	return p
}
