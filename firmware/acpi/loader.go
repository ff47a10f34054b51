package acpi

import "encoding/binary"

// Names of the fw_cfg files that firmware looks for.
const (
	LoaderFile = "etc/table-loader"
	TablesFile = "etc/acpi/tables"
	RSDPFile   = "etc/acpi/rsdp"
)

// File is one fw_cfg file.
type File struct {
	Name string
	Data []byte
}

// Commands of the table loader, and the zones of its allocations (QEMU,
// "bios-linker-loader").
const (
	cmdAllocate    = 1
	cmdAddPointer  = 2
	cmdAddChecksum = 3

	zoneHigh = 1
	zoneFSeg = 2

	commandLen  = 128
	fileNameLen = 56
)

// Loader returns the tables as fw_cfg files: the blob of the tables, the RSDP,
// and the script by which firmware allocates memory for both, turns the
// offsets in their pointers into addresses and computes the checksums. SeaBIOS
// and OVMF read it.
func (t *Tables) Loader() []File {
	offs, size := t.layout()
	blob := make([]byte, size)
	for i, tb := range t.list {
		unplaced(blob[offs[i]:], tb, offs)
	}
	root := make([]byte, len(t.rsdp.data))
	unplaced(root, t.rsdp, offs)

	var s script
	s.allocate(TablesFile, 64, zoneHigh)
	s.allocate(RSDPFile, 16, zoneFSeg)
	for i, tb := range t.list {
		s.fix(TablesFile, offs[i], tb)
	}
	s.fix(RSDPFile, 0, t.rsdp)
	return []File{{TablesFile, blob}, {RSDPFile, root}, {LoaderFile, s.b}}
}

// unplaced copies tb to dst with each pointer holding an offset into the blob;
// checksums stay zero, as the loader wants them.
func unplaced(dst []byte, tb table, offs []int) {
	copy(dst, tb.data)
	for _, p := range tb.pointers {
		putPointer(dst[p.off:], p.size, uint64(offs[p.target]))
	}
}

type script struct{ b []byte }

func (s *script) command(cmd uint32, names []string, tail func([]byte) []byte) {
	start := len(s.b)
	s.b = binary.LittleEndian.AppendUint32(s.b, cmd)
	for _, n := range names {
		var f [fileNameLen]byte
		copy(f[:fileNameLen-1], n)
		s.b = append(s.b, f[:]...)
	}
	s.b = tail(s.b)
	s.b = append(s.b, make([]byte, commandLen-(len(s.b)-start))...)
}

func (s *script) allocate(file string, align uint32, zone byte) {
	s.command(cmdAllocate, []string{file}, func(b []byte) []byte {
		return append(binary.LittleEndian.AppendUint32(b, align), zone)
	})
}

// fix emits the commands for the table at off of file. Pointers come before
// checksums, which cover them.
func (s *script) fix(file string, off int, tb table) {
	for _, p := range tb.pointers {
		s.command(cmdAddPointer, []string{file, TablesFile}, func(b []byte) []byte {
			return append(binary.LittleEndian.AppendUint32(b, uint32(off+p.off)), byte(p.size))
		})
	}
	for _, c := range tb.sums {
		s.command(cmdAddChecksum, []string{file}, func(b []byte) []byte {
			b = binary.LittleEndian.AppendUint32(b, uint32(off+c.off))
			b = binary.LittleEndian.AppendUint32(b, uint32(off+c.start))
			return binary.LittleEndian.AppendUint32(b, uint32(c.length))
		})
	}
}
