package boot

import "fmt"

const (
	hvmStartMagic   = 0x336ec578
	hvmStartVersion = 1
)

// placed is a module in memory.
type placed struct {
	addr, size uint64
	cmdline    uint64
	text       string
}

// modules places the RAM disk and the further modules, all below 4 GiB, each
// on pages of its own.
func (l *loader) modules() ([]placed, error) {
	var list []Module
	if len(l.opt.Initrd) > 0 {
		list = append(list, Module{Data: l.opt.Initrd})
	}
	list = append(list, l.opt.Modules...)
	var out []placed
	lo, hi := l.top(), uint64(1)<<32
	for i, m := range list {
		what := fmt.Sprintf("module %d", i)
		if len(m.Data) == 0 {
			return nil, fmt.Errorf("boot: %s is empty", what)
		}
		addr, err := l.place(what, m.Data, lo, hi)
		if err != nil {
			return nil, err
		}
		hi = addr
		text, err := l.putInfo("command line of "+what, append([]byte(m.Cmdline), 0))
		if err != nil {
			return nil, err
		}
		out = append(out, placed{addr, uint64(len(m.Data)), text, m.Cmdline})
	}
	return out, nil
}

// pvh loads an ELF file and enters it as Xen does a PVH guest (Xen,
// docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h).
func (l *loader) pvh(image []byte) (Entry, error) {
	f, err := parseELF(image)
	if err != nil {
		return Entry{}, err
	}
	entry, ok := f.pvhEntry()
	if !ok {
		return Entry{}, fmt.Errorf("boot: ELF file has no PVH entry point (note XEN_ELFNOTE_PHYS32_ENTRY)")
	}
	if err := l.loadELF(f); err != nil {
		return Entry{}, err
	}
	mods, err := l.modules()
	if err != nil {
		return Entry{}, err
	}
	cmdline, err := l.putCmdline(l.opt.Cmdline)
	if err != nil {
		return Entry{}, err
	}
	var list buffer
	for _, m := range mods {
		list.u64(m.addr)
		list.u64(m.size)
		list.u64(m.cmdline)
		list.u64(0)
	}
	modlist := uint64(0)
	if len(mods) > 0 {
		if modlist, err = l.putInfo("module list", list.b); err != nil {
			return Entry{}, err
		}
	}
	var memmap buffer
	for _, e := range l.opt.Map {
		memmap.u64(e.Addr)
		memmap.u64(e.Size)
		memmap.u32(uint32(e.Type))
		memmap.u32(0)
	}
	mapAddr, err := l.putInfo("memory map", memmap.b)
	if err != nil {
		return Entry{}, err
	}
	var s buffer
	s.u32(hvmStartMagic)
	s.u32(hvmStartVersion)
	s.u32(0)
	s.u32(uint32(len(mods)))
	s.u64(modlist)
	s.u64(cmdline)
	s.u64(l.opt.RSDP)
	s.u64(mapAddr)
	s.u32(uint32(len(l.opt.Map)))
	s.u32(0)
	info, err := l.putInfo("start info", s.b)
	if err != nil {
		return Entry{}, err
	}
	e, err := l.flatEntry(Protected, uint64(entry))
	e.RBX = info
	return e, err
}
