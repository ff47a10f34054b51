package qcow2

// Fields of L1 and L2 entries.
const (
	flagCopied     = 1 << 63 // the refcount is exactly one
	flagCompressed = 1 << 62
	flagZero       = 1 << 0 // the cluster reads as zeroes
	maskOffset     = 0x00ff_ffff_ffff_fe00
)

// subclusters is how many parts an extended L2 entry tells apart.
const subclusters = 32

// geometry are the sizes that follow from the header, in bytes if not said
// otherwise.
type geometry struct {
	clusterBits uint
	clusterSize int64
	extended    bool // L2 entries have 16 bytes, else 8
	version     uint32
	subs        int // subclusters in a cluster: 32 or 1
	subSize     int64
	l2Entries   int64 // entries in an L2 table
	l2Span      int64 // guest bytes that an L2 table maps
	refOrder    uint
	refsPer     int64 // refcounts in a refcount block
}

func (h *Header) geometry() geometry {
	g := geometry{
		clusterBits: uint(h.ClusterBits),
		clusterSize: 1 << h.ClusterBits,
		extended:    h.IncompatibleFeatures&incompatExtendedL2 != 0,
		version:     h.Version,
		subs:        1,
		refOrder:    uint(h.RefcountOrder),
	}
	g.l2Entries = g.clusterSize / 8
	if g.extended {
		g.subs = subclusters
		g.l2Entries = g.clusterSize / 16
	}
	g.subSize = g.clusterSize / int64(g.subs)
	g.l2Span = g.l2Entries << g.clusterBits
	g.refsPer = g.clusterSize * 8 >> g.refOrder
	return g
}

// maxRefcount is the largest refcount that fits.
func (g *geometry) maxRefcount() uint64 {
	return ^uint64(0) >> (64 - 1<<g.refOrder)
}

// clusters is how many clusters n bytes take.
func (g *geometry) clusters(n int64) int64 { return (n + g.clusterSize - 1) >> g.clusterBits }

// width is how many 64-bit words an L2 entry has.
func (g *geometry) width() int64 {
	if g.extended {
		return 2
	}
	return 1
}

// compressedRange decodes a compressed cluster's descriptor: where its data
// starts and how many bytes it may take, to the end of its last sector.
func (g *geometry) compressedRange(e uint64) (off, n int64) {
	x := 62 - (g.clusterBits - 8)
	off = int64(e & (1<<x - 1))
	sectors := int64(e>>x&(1<<(62-x)-1)) + 1
	return off, sectors*512 - off%512
}

// compressedEntry encodes a descriptor for n bytes at off.
func (g *geometry) compressedEntry(off, n int64) uint64 {
	x := 62 - (g.clusterBits - 8)
	more := (off+n-1)/512 - off/512
	return flagCompressed | uint64(more)<<x | uint64(off)
}

// entry is an L2 entry, decoded. Bit i of alloc and zero is about subcluster i;
// without subclusters there is only bit 0.
type entry struct {
	host   int64  // offset of the data cluster, 0 for none
	desc   uint64 // the descriptor of a compressed cluster, or 0
	copied bool
	alloc  uint32 // the subcluster's content is in the data cluster
	zero   uint32 // the subcluster reads as zeroes
}

// all has a bit for each subcluster.
func (g *geometry) all() uint32 { return uint32(1<<g.subs - 1) }

// decode splits an entry that was checked.
func (g *geometry) decode(e, bitmap uint64) entry {
	if e&flagCompressed != 0 {
		return entry{desc: e &^ flagCopied}
	}
	d := entry{host: int64(e & maskOffset), copied: e&flagCopied != 0}
	switch {
	case g.extended:
		d.alloc, d.zero = uint32(bitmap), uint32(bitmap>>32)
	case e&flagZero != 0:
		d.zero = 1
	case d.host != 0:
		d.alloc = 1
	}
	return d
}

// encode is the opposite of decode.
func (g *geometry) encode(d entry) (e, bitmap uint64) {
	if d.desc != 0 {
		return d.desc, 0
	}
	e = uint64(d.host)
	if d.copied {
		e |= flagCopied
	}
	if g.extended {
		return e, uint64(d.zero)<<32 | uint64(d.alloc)
	}
	return e | uint64(d.zero&1), 0
}

// problem tells what is wrong with an L2 entry in itself, or "".
func (g *geometry) problem(e, bitmap uint64) string {
	if e&flagCompressed != 0 {
		if bitmap != 0 {
			return "a compressed cluster has subclusters"
		}
		if off, _ := g.compressedRange(e); off < g.clusterSize {
			return "compressed data is inside the header's cluster"
		}
		return ""
	}
	off := int64(e & maskOffset)
	reserved := e &^ (flagCopied | maskOffset)
	if g.version >= 3 && !g.extended {
		reserved &^= flagZero
	}
	switch {
	case reserved != 0:
		return "reserved bits are set"
	case off&(g.clusterSize-1) != 0:
		return "the data cluster's offset is not aligned to clusters"
	case off == 0 && e&flagCopied != 0:
		return "it has the flag of a data cluster without having one"
	case uint32(bitmap)&uint32(bitmap>>32) != 0:
		return "subclusters are both allocated and zero"
	case off == 0 && uint32(bitmap) != 0:
		return "subclusters are allocated without a data cluster"
	}
	return ""
}
