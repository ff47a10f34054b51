package perf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// A kernel's table of its own symbols (kernel/kallsyms.c of Linux), compressed:
//
//	kallsyms_num_syms     u32
//	kallsyms_names        for each symbol its length, one byte or two (ULEB128), and so many token numbers
//	kallsyms_markers      u32[]: where every 256th name begins
//	kallsyms_token_table  256 strings, each ended by 0
//	kallsyms_token_index  u16[256]: where each begins
//	kallsyms_offsets      u32[num_syms], before num_syms in older kernels, after token_index in newer ones
//	kallsyms_relative_base u64, behind the offsets, where these are not relative to themselves
//
// Each is aligned to 8 bytes, or to 4 in the newest. The token table is found by the strings of the
// digits, which stand for themselves; everything else by its relation to it.

const (
	tokenCount  = 256
	markerEvery = 256
	// maxKallsyms bounds the number of symbols; kernels have about 200,000.
	maxKallsyms = 1 << 22
	// kallsymsBudget bounds the steps of the search in an image made to prolong it.
	kallsymsBudget = 1 << 24
	// maxSymbolName is KSYM_NAME_LEN.
	maxSymbolName = 512
)

var errNoKallsyms = errors.New("no kallsyms tables")

// kallsyms is an image in which the tables are looked for.
type kallsyms struct {
	data   []byte
	va     uint64 // address of data[0]
	budget int

	align      int // of the tables: 8 or 4
	tokens     [tokenCount][]byte
	table      int // offset of the token table
	tail       int // offset behind the token index
	names      int // offset of the names
	numSyms    int // offset of the number of symbols
	n          int // number of symbols
	symbolName []byte
}

// parseKallsyms returns the symbols that a part of a kernel image, linked to be
// at va, has of itself, in the order of their addresses.
func parseKallsyms(data []byte, va uint64) ([]Symbol, error) {
	k := &kallsyms{data: data, va: va, budget: kallsymsBudget}
	digits := []byte("0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00")
	err := errNoKallsyms
	for at := 0; ; at++ {
		i := bytes.Index(data[at:], digits)
		if i < 0 {
			return nil, err
		}
		at += i
		if !k.find(at) {
			if k.table != 0 {
				err = errors.New("a kallsyms token table, but no names that belong to it")
			}
			continue
		}
		addrs, ok := k.addresses()
		if !ok {
			err = fmt.Errorf("kallsyms: %d names, but no addresses in the order of a kernel's", k.n)
			continue
		}
		return k.symbols(addrs)
	}
}

// find looks for tokens and names around the token of the digit 0.
func (k *kallsyms) find(digit int) bool {
	for _, k.align = range []int{8, 4} {
		if k.findTokens(digit) && k.findNames() {
			return true
		}
	}
	return false
}

func alignUp(n, to int) int { return (n + to - 1) &^ (to - 1) }

func (k *kallsyms) u32(off int) uint32 { return binary.LittleEndian.Uint32(k.data[off:]) }

// findTokens takes the token of the digit 0 to be at d and looks for the table
// around it.
func (k *kallsyms) findTokens(d int) bool {
	end := d
	for range tokenCount - '0' {
		limit := min(end+maxSymbolName, len(k.data))
		i := bytes.IndexByte(k.data[end:limit], 0)
		if i < 0 {
			return false
		}
		end += i + 1
	}
	index := alignUp(end, k.align)
	if index+2*tokenCount > len(k.data) {
		return false
	}
	at := func(i int) int { return int(binary.LittleEndian.Uint16(k.data[index+2*i:])) }
	start := d - at('0')
	if at(0) != 0 || start < 0 {
		return false
	}
	for i := range k.tokens {
		from, to := start+at(i), end
		if i+1 < tokenCount {
			to = start + at(i+1)
		}
		if to <= from || to > end || k.data[to-1] != 0 || bytes.IndexByte(k.data[from:to], 0) != to-from-1 {
			return false
		}
		k.tokens[i] = k.data[from : to-1]
	}
	k.table, k.tail = start, index+2*tokenCount
	return true
}

// findNames looks for the names, the number of symbols before them and the markers after them.
func (k *kallsyms) findNames() bool {
	for at := (k.table - 1) &^ (k.align - 1); at >= 0; at -= k.align {
		n := int64(k.u32(at))
		// A name takes two bytes at least: its length and its type.
		if n < 1 || n > maxKallsyms || 2*n > int64(k.table-at) {
			continue
		}
		if k.checkNames(alignUp(at+4, k.align), int(n)) {
			k.numSyms = at
			return true
		}
		if k.budget < 0 {
			return false
		}
	}
	return false
}

// checkNames reports whether n names are at off and markers behind them say the same.
func (k *kallsyms) checkNames(off, n int) bool {
	at := off
	for range n {
		size, head := k.nameLen(at)
		if k.budget--; size <= 0 || k.budget < 0 {
			return false
		}
		at += head + size
	}
	if !k.checkMarkers(off, n, alignUp(at, k.align), 4) && !k.checkMarkers(off, n, alignUp(at, k.align), 8) {
		return false
	}
	k.names, k.n = off, n
	return true
}

// checkMarkers reports whether the markers at an offset are those of n names at off. They have 8 bytes
// before Linux 5.0, then 4.
func (k *kallsyms) checkMarkers(off, n, markers, size int) bool {
	count := (n + markerEvery - 1) / markerEvery
	end := alignUp(markers+size*count, k.align)
	// Linux 6.2 to 6.4 have kallsyms_seqs_of_names, 3 bytes for each symbol, between these and the tokens.
	if end != k.table && end+alignUp(3*n, k.align) != k.table {
		return false
	}
	at := off
	for i := range n {
		if i%markerEvery == 0 {
			p := k.data[markers+size*(i/markerEvery):]
			if int64(binary.LittleEndian.Uint32(p)) != int64(at-off) || size == 8 && binary.LittleEndian.Uint32(p[4:]) != 0 {
				return false
			}
		}
		tokens, head := k.nameLen(at)
		at += head + tokens
	}
	return true
}

// nameLen returns the number of tokens of the name at off and of the bytes that
// tell it; 0 tokens if there is no name.
func (k *kallsyms) nameLen(off int) (tokens, head int) {
	if off+2 > k.table {
		return 0, 0
	}
	tokens, head = int(k.data[off]), 1
	if tokens&0x80 != 0 {
		tokens, head = tokens&0x7f|int(k.data[off+1])<<7, 2
	}
	if off+head+tokens > k.table {
		return 0, 0
	}
	return tokens, head
}

// addresses finds the addresses of the symbols in one of the ways in which
// kernels have told them.
func (k *kallsyms) addresses() ([]uint64, bool) {
	size := alignUp(4*k.n, 8)
	for _, try := range []func() ([]uint64, bool){
		func() ([]uint64, bool) { return k.relative(k.tail, k.tail+size) },
		func() ([]uint64, bool) { return k.relative(k.numSyms&^7-8-size, k.numSyms&^7-8) },
		func() ([]uint64, bool) { return k.placeRelative(k.tail) },
		func() ([]uint64, bool) { return k.absolute(k.numSyms&^7 - 8*k.n) },
	} {
		if addrs, ok := try(); ok {
			return addrs, true
		}
	}
	return nil, false
}

// relative reads offsets from a base. Where per-CPU symbols have absolute values
// (CONFIG_KALLSYMS_ABSOLUTE_PERCPU), these are the positive ones, and the others are counted down
// from the base less one.
func (k *kallsyms) relative(offsets, base int) ([]uint64, bool) {
	if offsets < 0 || base+8 > len(k.data) {
		return nil, false
	}
	b := binary.LittleEndian.Uint64(k.data[base:])
	if b>>47 != 1<<17-1 {
		return nil, false
	}
	plain, percpu := make([]uint64, k.n), make([]uint64, k.n)
	for i := range k.n {
		v := k.u32(offsets + 4*i)
		plain[i] = b + uint64(v)
		if percpu[i] = uint64(v); int32(v) < 0 {
			percpu[i] = b - 1 - uint64(int64(int32(v)))
		}
	}
	if ordered(plain) {
		return plain, true
	}
	return percpu, ordered(percpu)
}

// placeRelative reads offsets from where they are themselves. The first symbols are those of the text, which
// is before.
func (k *kallsyms) placeRelative(offsets int) ([]uint64, bool) {
	if offsets+4*k.n > len(k.data) {
		return nil, false
	}
	addrs := make([]uint64, k.n)
	for i := range addrs {
		at := offsets + 4*i
		addrs[i] = k.va + uint64(at) + uint64(int64(int32(k.u32(at))))
	}
	return addrs, addrs[0] < k.va+uint64(offsets) && ordered(addrs)
}

// absolute reads whole addresses.
func (k *kallsyms) absolute(at int) ([]uint64, bool) {
	if at < 0 {
		return nil, false
	}
	addrs := make([]uint64, k.n)
	for i := range addrs {
		addrs[i] = binary.LittleEndian.Uint64(k.data[at+8*i:])
	}
	return addrs, ordered(addrs)
}

// ordered reports whether addresses ascend, as those of kallsyms do, and end in the kernel's half.
func ordered(addrs []uint64) bool {
	last := uint64(0)
	for _, a := range addrs {
		if a < last {
			return false
		}
		last = a
	}
	return last>>63 != 0
}

// symbols decodes the names.
func (k *kallsyms) symbols(addrs []uint64) ([]Symbol, error) {
	out := make([]Symbol, 0, k.n)
	at := k.names
	for i := range k.n {
		size, head := k.nameLen(at)
		name := k.symbolName[:0]
		for _, t := range k.data[at+head : at+head+size] {
			name = append(name, k.tokens[t]...)
			if len(name) > maxSymbolName {
				return nil, fmt.Errorf("kallsyms: symbol %d of %d is longer than %d bytes", i, k.n, maxSymbolName)
			}
		}
		k.symbolName = name
		at += head + size
		if len(name) < 2 {
			return nil, fmt.Errorf("kallsyms: symbol %d of %d has no name", i, k.n)
		}
		out = append(out, Symbol{Addr: addrs[i], Name: string(name[1:]), Type: name[0]})
	}
	return out, nil
}
