package p9

// Types of messages, of which the answer has the next number (9P2000, and 9P2000.L for those below 100).
const (
	rLerror      = 7
	tStatfs      = 8
	tLopen       = 12
	tLcreate     = 14
	tSymlink     = 16
	tMknod       = 18
	tRename      = 20
	tReadlink    = 22
	tGetattr     = 24
	tSetattr     = 26
	tXattrwalk   = 30
	tXattrcreate = 32
	tReaddir     = 40
	tFsync       = 50
	tLock        = 52
	tGetlock     = 54
	tLink        = 70
	tMkdir       = 72
	tRenameat    = 74
	tUnlinkat    = 76
	tVersion     = 100
	tAuth        = 102
	tAttach      = 104
	tFlush       = 108
	tWalk        = 110
	tRead        = 116
	tWrite       = 118
	tClunk       = 120
	tRemove      = 122
)

// Sizes, in bytes.
const (
	headerSize  = 7 // size[4] type[1] tag[2]
	errorSize   = headerSize + 4
	readHeader  = headerSize + 4 // of Rread and Rreaddir
	qidSize     = 13
	minMessage  = 4096
	maxMessage  = 512 << 10
	maxName     = 255
	maxTarget   = 4095 // of a symbolic link
	maxWalk     = 16   // names in Twalk
	tagSize     = 256  // of the configuration's tag
	dialect     = "9P2000.L"
	noFid       = 0xffffffff
	noTag       = 0xffff
	statfsMagic = 0x01021997 // V9FS_MAGIC of Linux
)

// Types of qids.
const (
	qidDir     = 0x80
	qidSymlink = 0x02
)

// Bits of Tgetattr and Tsetattr.
const (
	getattrBasic = 0x7ff

	setMode     = 0x001
	setUID      = 0x002
	setGID      = 0x004
	setSize     = 0x008
	setAtime    = 0x010
	setMtime    = 0x020
	setCtime    = 0x040
	setAtimeSet = 0x080
	setMtimeSet = 0x100
	setAll      = 0x1ff
)

// Flags of Tlopen and Tlcreate, with the values of Linux on x86.
const (
	openAccess    = 0o3
	openWriteOnly = 0o1
	openReadWrite = 0o2
	openExcl      = 0o200
	openTrunc     = 0o1000
	openAppend    = 0o2000
	openDsync     = 0o10000
	openDirectory = 0o200000
	openSync      = 0o4010000
)

// Types of files, in modes.
const (
	modeType    = 0o170000
	modeDir     = 0o040000
	modeRegular = 0o100000
	modeSymlink = 0o120000
	modeFIFO    = 0o010000
	modeSocket  = 0o140000
	modePerm    = 0o1777 // bits that guests may set on any file
	modeSetID   = 0o6000
)

// unlinkDir is the only flag of Tunlinkat (AT_REMOVEDIR).
const unlinkDir = 0x200

// Tlock and Tgetlock.
const (
	lockRead    = 0
	lockWrite   = 1
	lockUnlock  = 2
	lockFlags   = 3 // block, reclaim
	lockSuccess = 0
	lockBlocked = 1
)
