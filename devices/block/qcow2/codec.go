package qcow2

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
)

// Compression is how an image's compressed clusters are compressed.
type Compression uint8

// Compression types.
const (
	Deflate Compression = 0
	Zstd    Compression = 1
)

// String returns the type's name as QEMU's tools write it.
func (c Compression) String() string {
	switch c {
	case Deflate:
		return "zlib"
	case Zstd:
		return "zstd"
	}
	return fmt.Sprintf("type %d", uint8(c))
}

// ParseCompression is the opposite of String; "deflate" is another name of
// "zlib".
func ParseCompression(s string) (Compression, error) {
	switch s {
	case "zlib", "deflate":
		return Deflate, nil
	case "zstd":
		return Zstd, nil
	}
	return 0, fmt.Errorf("compression %q: must be zlib or zstd", s)
}

// deflateWindow is the window that readers of the format may rely on, in bytes.
const deflateWindow = 4096

// codec compresses and decompresses clusters. It may be used concurrently.
type codec struct {
	kind    Compression
	readers sync.Pool // of io.Reader that is flate.Resetter, or *zstd.Decoder
	writers sync.Pool // of *flate.Writer, or *zstd.Encoder
}

// decompress fills p, a whole cluster, from src, which may have other data
// after its end.
func (c *codec) decompress(p, src []byte) error {
	var err error
	switch c.kind {
	case Deflate:
		r, _ := c.readers.Get().(io.ReadCloser)
		if r == nil {
			r = flate.NewReader(bytes.NewReader(src))
		} else if s, ok := r.(flate.Resetter); ok {
			err = s.Reset(bytes.NewReader(src), nil)
		}
		if err == nil {
			_, err = io.ReadFull(r, p)
		}
		c.readers.Put(r)
	case Zstd:
		d, _ := c.readers.Get().(*zstd.Decoder)
		if d == nil {
			// One block at a time, and no reading ahead into what follows the
			// frame, which is not part of it.
			d, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
				zstd.WithDecoderMaxWindow(1<<26), zstd.WithDecoderMaxMemory(1<<26))
			if err != nil {
				return err
			}
		}
		if err = d.Reset(bytes.NewReader(src)); err == nil {
			_, err = io.ReadFull(d, p)
		}
		c.readers.Put(d)
	}
	return err
}

// compress returns p, a whole cluster, compressed, in a buffer of its own, or
// nil if that would not be shorter.
func (c *codec) compress(p []byte) ([]byte, error) {
	switch c.kind {
	case Deflate:
		var buf bytes.Buffer
		w, _ := c.writers.Get().(*flate.Writer)
		if w == nil {
			var err error
			if w, err = flate.NewWriterWindow(&buf, deflateWindow); err != nil {
				return nil, err
			}
		} else {
			w.Reset(&buf)
		}
		defer c.writers.Put(w)
		if _, err := w.Write(p); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		if buf.Len() >= len(p) {
			return nil, nil
		}
		return buf.Bytes(), nil
	default:
		w, _ := c.writers.Get().(*zstd.Encoder)
		if w == nil {
			var err error
			if w, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false)); err != nil {
				return nil, err
			}
		}
		defer c.writers.Put(w)
		b := w.EncodeAll(p, nil)
		if len(b) >= len(p) {
			return nil, nil
		}
		return b, nil
	}
}
