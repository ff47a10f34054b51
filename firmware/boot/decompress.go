package boot

import (
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz/lzma"
)

// Decompress unpacks p, whose format it finds by its first bytes: gzip, xz,
// zstd, lz4 (legacy frame), bzip2, lzma or lzo. An ELF file is returned as it
// is. It is an error when there are more than limit bytes in it; memory use
// is bounded by limit, too.
func Decompress(p []byte, limit uint64) ([]byte, error) {
	has := func(s string) bool { return bytes.HasPrefix(p, []byte(s)) }
	switch {
	case isELF(p):
		if uint64(len(p)) > limit {
			return nil, overLimit(limit)
		}
		return p, nil
	case has("\x1f\x8b"):
		r, err := gzip.NewReader(bytes.NewReader(p))
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		r.Multistream(false)
		// The file ends with the size of its contents.
		size := uint64(binary.LittleEndian.Uint32(p[len(p)-4:]))
		return readAll("gzip", r, limit, size)
	case has("\xfd7zXZ\x00"):
		return unxz(p, limit)
	case has("\x28\xb5\x2f\xfd"):
		return unzstd(p, limit)
	case has("\x02\x21\x4c\x18"):
		return unlz4(p, limit)
	case has("BZh"):
		return readAll("bzip2", bzip2.NewReader(bytes.NewReader(p)), limit, limit)
	case has("\x5d\x00\x00"):
		return unlzma(p, limit)
	case has(lzopMagic):
		return unlzop(p, limit)
	}
	return nil, fmt.Errorf("unknown compression: first bytes % x", p[:min(len(p), 6)])
}

func overLimit(limit uint64) error {
	return fmt.Errorf("contents are over the limit of %d bytes", limit)
}

// readAll reads to the end, but no more than limit bytes. Room for size bytes is
// made at once.
func readAll(name string, r io.Reader, limit, size uint64) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(int(min(size, limit, maxPayload)) + bytes.MinRead)
	n, err := b.ReadFrom(io.LimitReader(r, int64(limit)+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if uint64(n) > limit {
		return nil, fmt.Errorf("%s: %w", name, overLimit(limit))
	}
	return b.Bytes(), nil
}

func unzstd(p []byte, limit uint64) ([]byte, error) {
	var h zstd.Header
	if err := h.Decode(p); err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	if h.HasFCS && h.FrameContentSize > limit {
		return nil, fmt.Errorf("zstd: %w", overLimit(limit))
	}
	size := limit
	if h.HasFCS {
		size = h.FrameContentSize
	}
	// The window of a kernel is 128 MiB, more than there may be contents. It
	// takes no memory here: the output is the window.
	const window = 1 << 29
	d, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderMaxMemory(max(limit, window)),
		zstd.WithDecoderMaxWindow(window),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	defer d.Close()
	dst := make([]byte, 0, size)
	out, err := d.DecodeAll(p, dst)
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return out, nil
}

// lz4Block is how much a block of the legacy frame holds at the most.
const lz4Block = 8 << 20

// unlz4 reads the legacy frame: blocks with their packed size before them.
func unlz4(p []byte, limit uint64) ([]byte, error) {
	p = p[4:]
	// A block is unpacked into what is left of the room, and a byte more than
	// the limit shows that there is more.
	out := make([]byte, 0, min(limit, maxPayload)+1)
	for len(p) > 0 {
		if len(p) < 4 {
			return nil, fmt.Errorf("lz4: truncated block size")
		}
		n := binary.LittleEndian.Uint32(p)
		p = p[4:]
		if uint64(n) > uint64(len(p)) {
			return nil, fmt.Errorf("lz4: block of %d bytes, %d are left", n, len(p))
		}
		room := out[len(out):min(len(out)+lz4Block, cap(out))]
		m, err := lz4.UncompressBlock(p[:n], room)
		switch {
		case err != nil && len(room) < lz4Block:
			return nil, fmt.Errorf("lz4: %w, or %w", err, overLimit(limit))
		case err != nil:
			return nil, fmt.Errorf("lz4: %w", err)
		}
		out = out[:len(out)+m]
		if uint64(len(out)) > limit {
			return nil, fmt.Errorf("lz4: %w", overLimit(limit))
		}
		p = p[n:]
	}
	return out, nil
}

// lzmaMinDict is the smallest dictionary of the format.
const lzmaMinDict = 1 << 12

// unlzma reads the .lzma format: 13 bytes of header and the stream.
func unlzma(p []byte, limit uint64) ([]byte, error) {
	const headerLen = 13
	if len(p) < headerLen {
		return nil, fmt.Errorf("lzma: header is truncated")
	}
	le := binary.LittleEndian
	if n := le.Uint64(p[5:]); n != ^uint64(0) && n > limit {
		return nil, fmt.Errorf("lzma: %w", overLimit(limit))
	}
	// A dictionary larger than the contents is of no use: what is asked for
	// is cut, so that no header makes for a large allocation.
	head := bytes.Clone(p[:headerLen])
	dict := max(min(uint64(le.Uint32(head[1:])), limit), lzmaMinDict)
	le.PutUint32(head[1:], uint32(dict))
	cfg := lzma.ReaderConfig{DictCap: int(dict)}
	r, err := cfg.NewReader(io.MultiReader(bytes.NewReader(head), bytes.NewReader(p[headerLen:])))
	if err != nil {
		return nil, fmt.Errorf("lzma: %w", err)
	}
	return readAll("lzma", r, limit, limit)
}
