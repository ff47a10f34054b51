package atapi_test

import (
	"testing"

	"dfemu/devices/ahci/ata"
	"dfemu/devices/ahci/atapi"
	"dfemu/devices/block"
)

// FuzzPacket executes packets of any content on a buffer of any size.
func FuzzPacket(f *testing.F) {
	for op := range 256 {
		f.Add([]byte{byte(op), 1, 0, 0, 16, 0, 0, 0, 64, 8, 0, 0}, uint16(64), true)
		f.Add([]byte{byte(op), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, uint16(2048), true)
		f.Add([]byte{byte(op), 2, 0, 0, 0, 3, 0, 0, 1, 0x10, 0, 0}, uint16(6), false)
	}
	f.Fuzz(func(t *testing.T, cdb []byte, size uint16, medium bool) {
		d, err := atapi.New(atapi.Options{Name: "cd"})
		if err != nil {
			t.Fatal(err)
		}
		if medium {
			m, err := block.NewMemory(make([]byte, 64<<10), true)
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Insert(m); err != nil {
				t.Fatal(err)
			}
		}
		r := ata.Request{Task: ata.Task{Command: ata.CmdPacket, Feature: 1}}
		copy(r.Packet[:], cdb)
		for range 3 { // past unit attention
			r.Command = d.Parse(&r.Task, &r.Packet)
			n := min(int64(size), max(r.Command.Bytes, 0))
			r.Data = ata.Buffer{}
			if n > 0 {
				r.Data = ata.Buffer{Pieces: [][]byte{make([]byte, n)}, Size: n}
			}
			d.Execute(&r)
			if r.Moved < 0 || r.Moved > n {
				t.Errorf("%s moved %d bytes of %d", r.Command.Name, r.Moved, n)
			}
		}
		state, err := d.SaveState()
		if err == nil {
			err = d.RestoreState(state)
		}
		if err != nil {
			t.Error(err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
}
