package program

const (
	pageSize = 4096

	// Guest-physical memory.
	physGDT    = 0x1000
	physIDT    = 0x2000
	physTSS    = 0x3000
	physLog    = 0x4000 // what handlers write down; see kernel.go
	physCtrl   = 0x5000 // words shared by the program and its handlers
	physExc    = 0x6000 // the stack of exceptions: two pages
	physKernel = 0x8000 // handlers: two pages
	physTables = 0x10000
	physCode   = 0x20000
	physSwap   = 0x40000 // two versions of the page at swapBase
	physData   = 0x50000
	physStack  = 0x70000
	ramSize    = 0x200000 // one large page
	physDevice = 0xd0000000

	// Linear addresses. All of memory is also at kernelBase, for the supervisor, in a large page.
	kernelBase = 0xffff800000000000
	codeBase   = 0x10000000
	codePages  = 16
	swapBase   = codeBase + codePages*pageSize // one page, whose frame changes
	aliasBase  = 0x18000000                    // the code pages again, not executable
	dataBase   = 0x20000000
	dataPages  = 8
	stackBase  = 0x20100000
	stackPages = 4
	deviceBase = 0x20200000 // one page that is not memory

	// Offsets in the page of control words, which is at ctrlBase for the
	// program and at kernelBase for the handlers.
	ctrlBase    = 0x20300000
	ctrlResume  = 0x00 // where to go on after an exception
	ctrlStack   = 0x08 // RSP there
	ctrlHeals   = 0x10 // page faults that were mended
	ctrlSteps   = 0x18 // single steps taken
	ctrlEvents  = 0x20 // events handled
	ctrlCall    = 0x40 // return address of the running system call
	ctrlTables  = 0x100
	maxHeals    = 200
	maxEvents   = 20000
	stepsAtOnce = 6
	logEntry    = 64
	logEntries  = pageSize / logEntry

	selKernelCode = 0x08
	selKernelData = 0x10
	selUserData   = 0x1b // SYSRET: STAR[63:48] + 8, RPL 3
	selUserCode   = 0x23 // STAR[63:48] + 16
	selTSS        = 0x28
	gdtSize       = 0x38

	// Ports.
	portEnd       = 0xf4 // ends the program
	portEcho      = 0xe8 // IN reads something, OUT is written down
	portInterrupt = 0xea // OUT raises the interrupt line
	portYield     = 0xec // OUT makes Run return, if the rig wants that

	// Vectors of software interrupts.
	vecNothing   = 0x40 // an event like others
	vecWritePTE  = 0x41 // [RDI] = RSI; INVLPG [RDX]
	vecReloadCR3 = 0x42 // [RDI] = RSI; CR3 = CR3
	vecSwapPTE   = 0x43 // [RDI] and [RSI] change places; CR3 = CR3
	vecGlobal    = 0x44 // CR4.PGE off and on
	vecEnd       = 0x4f
	vecExternal  = 0x50 // the interrupt line
)
