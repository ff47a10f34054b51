package pc64

import (
	"sync/atomic"
	"unsafe"

	"dfemu/kernel/kern/lwkt"
	"dfemu/kernel/platform/acpi"
)

// Addresses of assembly, in the order of the function addresses.
const (
	adrVectors = iota
	adrSigReturn
	adrStart
	adrRuntime
)

var (
	address [4]uint64
	idt     [512]uint64

	bootStack [64 << 10]byte
	bootArgs  [64]uint64
	bootText  [4096]byte

	cpusUp    atomic.Uint32
	bootTSC   uint64 // at entry
	haveStart atomic.Uint32
)

// kstart sets a CPU up, first the boot processor and then each of the others.
func kstart() {
	p := this()
	if haveStart.Load() == 0 {
		haveStart.Store(1)
		bootTSC = rdtsc()
		boot(p)
		return
	}
	setCR3(rootPT)
	initTables(p)
	initAPIC(p)
	p.copyClock()
	atomic.StoreUint32(&p.up, 1)
	cpusUp.Add(1)
	p.kcpu().Online()
	kexit(p)
}

// boot brings the machine up to the point where the Go runtime can start.
func boot(p *percpu) {
	addresses(&address)
	init8259()
	initUART()
	if !checkLayout() {
		die("structures do not match the assembly")
	}
	readBootInfo()
	if nMemoryMap == 0 {
		die("the loader has given no memory map")
	}
	if !initEarly() {
		die("the image is in no memory")
	}
	offsetM, offsetPreemptOff = load64(directMap+stubRuntime), load64(directMap+stubRuntime+8)
	initPaging()
	areas[0] = p.self
	initVectors()
	initTables(p)
	if root := acpi.Find(physicalView, rsdpHint); root == 0 || !tables.Parse(physicalView, root) {
		print("ACPI: no tables\n")
	}
	if tables.LocalAPIC != 0 && tables.LocalAPIC < 4<<30 {
		apicBase = directMap + tables.LocalAPIC
	}
	initAPIC(p)
	initIOAPICs()
	initClock()
	initRandom()
	fpuSize = 512
	if p.feat&featXSAVE != 0 {
		_, ebx, _, _ := cpuid(0xd, 0)
		if fpuSize = uint64(ebx); fpuSize > uint64(len(context{}.fpu)) {
			die("the vector state is larger than a context")
		}
	}
	initCPUs(p)
	initThreads()
	initPages()
	p.copyClock()
	p.up = 1
	startOthers()
	startRuntime(p)
}

// physicalView is memory for the ACPI parser.
func physicalView(a uint64, n int) []byte {
	if a+uint64(n) > 4<<30 && !mapped(directMap+a+uint64(n)) {
		return view(directMap, n)
	}
	return view(directMap+a, n)
}

// copyClock makes the clock known to assembly.
func (p *percpu) copyClock() { p.tsc0, p.tscmul, p.wall = tscZero, tscMul, wallZero }

// initVectors fills the interrupt descriptor table: all gates lead to assembly, on the interrupt
// stack, but for the faults that must not share one.
func initVectors() {
	for v := range uint64(256) {
		ist := uint64(1)
		switch v {
		case 2:
			ist = 2
		case 8:
			ist = 3
		case 18:
			ist = 4
		}
		h := address[adrVectors] + 5*v
		idt[v*2] = h&0xffff | 8<<16 | ist<<32 | 0x8e<<40 | h>>16&0xffff<<48
		idt[v*2+1] = h >> 32
	}
}

// initTables makes and loads a CPU's descriptor tables.
func initTables(p *percpu) {
	t := (*[64]uint64)(pointer(p.self + areaTables))
	gdt, tss := t[:12], p.self+areaTables+128
	// Null, kernel code and data; user code and data come where SYSRET would want them.
	gdt[1], gdt[2] = 0x00af9b000000ffff, 0x00cf93000000ffff
	gdt[5], gdt[6], gdt[7] = 0x00cffb000000ffff, 0x00cff3000000ffff, 0x00affb000000ffff
	gdt[8] = 103 | tss&0xffffff<<16 | 0x89<<40 | tss>>24&0xff<<56
	gdt[9] = tss >> 32
	b := view(tss, 104)
	for i, top := range [...]uint64{areaTrap, areaNMI, areaFault, areaCheck} {
		*(*uint64)(unsafe.Pointer(&b[36+8*i])) = p.self + top
	}
	pseudo := p.self + areaTables + 256
	store64(pseudo, (12*8-1)|(p.self+areaTables)<<16)
	store64(pseudo+8, (p.self+areaTables)>>48)
	id := addressOf(&idt)
	store64(pseudo+16, 4095|id<<16)
	store64(pseudo+24, id>>48)
	// What stands in for an m.
	store64(p.self+areaG+48, p.self+areaM)
	loadTables(pseudo, pseudo+16, 8*8)
	keepFromUser()
}

// keepFromUser turns on what keeps the kernel from executing and touching the pages of programs by mistake: SMEP and SMAP
// (Intel SDM volume 3, section 4.6), where the processor has them.
func keepFromUser() {
	const smep, smap = 1 << 20, 1 << 21
	if max, _, _, _ := cpuid(0, 0); max < 7 {
		return
	}
	_, ebx, _, _ := cpuid(7, 0)
	cr4 := getCR4()
	if ebx>>7&1 != 0 {
		cr4 |= smep
	}
	if ebx>>20&1 != 0 {
		cr4 |= smap
	}
	setCR4(cr4)
}

// initCPUs gives each processor its area; the boot processor is number 0.
func initCPUs(p *percpu) {
	if tables.NCPUs == 0 {
		tables.CPUs[0], tables.NCPUs = p.apicID, 1
	}
	ncpu = 1
	for _, id := range tables.CPUs[:tables.NCPUs] {
		if id == p.apicID || ncpu == MaxCPUs || id > 254 && !x2apic {
			continue
		}
		a := uint64(areaBase + ncpu*areaStride)
		if !mapArea(a, early(areaSize)) {
			break
		}
		areas[ncpu] = a
		q := percpuOf(ncpu)
		q.index, q.apicID = uint64(ncpu), id
		ncpu++
	}
	for _, g := range areaGuards {
		store64(entryFor(p.self+g, 1), 0)
		invlpg(p.self + g)
	}
	// The others start on the boot stub's tables, with their areas in sight.
	const slot = areaBase >> 39 & 511 * 8
	store64(directMap+stubPML4+slot, load64(directMap+rootPT+slot))
}

// mapArea maps a processor's area, without the pages below its stacks, which are there to be missed when a
// stack overflows.
func mapArea(va, pa uint64) bool {
	for off := uint64(0); off < areaSize; off += pageSize {
		e := entryFor(va+off, 1)
		if e == 0 {
			return false
		}
		store64(e, pa+off|ptePresent|pteWrite|pteNX)
	}
	for _, g := range areaGuards {
		store64(entryFor(va+g, 1), 0)
	}
	return true
}

// initThreads makes LWKT and its memory.
func initThreads() {
	threads := int(max(256, min(4096, (earlyEnd-earlyNext)>>16))) + ncpu + 1
	callouts := threads + 1024
	m := lwkt.Memory{
		CPUs:     earlySlice[lwkt.CPU](ncpu),
		Threads:  earlySlice[lwkt.Thread](threads),
		Rings:    earlySlice[lwkt.Ring](ncpu * ncpu),
		Callouts: earlySlice[lwkt.Callout](callouts),
		Heaps:    sliceAt[[]lwkt.CalloutID](directMap+early(uint64(ncpu)*24), ncpu),
	}
	for i := range m.Heaps {
		m.Heaps[i] = earlySlice[lwkt.CalloutID](callouts)
	}
	deviceVectors = earlySlice[vector](ncpu * nVectors)
	system.Init(hardware{}, m)
	system.RegisterIPI(ipiSignal, signalIPI)
	system.RegisterIPI(ipiTest, testIPI)
	system.RegisterIPI(ipiFlag, flagIPI)
	system.RegisterIPI(ipiWatch, watchIPI)
}

// startOthers starts the other processors by INIT and start-up IPIs (Intel SDM volume 3, section 9.4), all at
// once if they come up, and waits for them.
func startOthers() {
	const page = 0x8000
	for i := 1; i < ncpu; i++ {
		for n, b := range trampoline {
			store8(directMap+page+uint64(n), b)
		}
		store64(directMap+page+trampStart, address[adrStart])
		store32(directMap+page+trampCR3, stubPML4)
		store64(directMap+page+trampArea, areas[i])
		was := cpusUp.Load()
		id := percpuOf(i).apicID
		sendICR(id, 0x4500)
		spin(200_000)
		for try := 0; try < 2 && cpusUp.Load() == was; try++ {
			sendICR(id, 0x4600|page>>12)
			for end := now() + 100_000_000; now() < end && cpusUp.Load() == was; {
				pause()
			}
		}
		if cpusUp.Load() == was {
			print("cpu")
			printDec(uint64(i))
			print(" does not start\n")
		}
	}
}

func spin(ns int64) {
	for end := now() + ns; now() < end; {
		pause()
	}
}

// startRuntime makes the thread in which the Go runtime starts, as a process starts: with
// arguments, environment and auxiliary vector.
func startRuntime(p *percpu) {
	text, args := bootText[:0], bootArgs[:0]
	add := func(s string) {
		args = append(args, addressOf(&bootText[len(text)]))
		text = append(text, s...)
		text = append(text, 0)
	}
	args = append(args, 0)
	add("kernel")
	for i := 0; i < nCmdline && len(args) < 40; {
		for i < nCmdline && cmdline[i] == ' ' {
			i++
		}
		j := i
		for j < nCmdline && cmdline[j] != ' ' {
			j++
		}
		if j > i && len(text)+j-i < len(bootText)-256 {
			add(unsafe.String(&cmdline[i], j-i))
		}
		i = j
	}
	args[0] = uint64(len(args) - 1)
	args = append(args, 0)
	add("GOTRACEBACK=system")
	add("TZ=UTC")
	procs := "GOMAXPROCS="
	n := uint64(ncpu*2 + 2)
	add(procs)
	text = text[:len(text)-1]
	if n >= 100 {
		text = append(text, byte('0'+n/100))
	}
	if n >= 10 {
		text = append(text, byte('0'+n/10%10))
	}
	text = append(text, byte('0'+n%10), 0)
	const pageSizeTag = 6
	args = append(args, 0, pageSizeTag, pageSize, 0, 0)

	c := p.kcpu()
	id := newLWP(c, lwkt.Attr{Priority: lwkt.PriKernel, Floating: true, Name: "go"})
	x := contextOf(id)
	x.rip, x.di, x.sp = address[adrRuntime], addressOf(&bootArgs[0]), addressOf(&bootStack)+uint64(len(bootStack))-64
	x.sp &^= 15
	c.SwitchTo(id)
	p.ctx = addressOf(x)
}
