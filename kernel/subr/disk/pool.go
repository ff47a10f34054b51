package disk

import (
	"fmt"
	"math/bits"
	"sync"

	"dfemu/kernel/kern"
)

// maxBuffer is the largest buffer, in bytes.
const maxBuffer = 1 << 20

// keep is how many free buffers of a size are kept.
const keep = 32

// pool keeps memory for devices that is not in use, by the logarithm of its size.
type pool struct {
	k    *kern.Kernel
	mu   sync.Mutex
	free [9][]kern.DMA
}

func order(n int) int { return bits.Len(uint(max(n, 1)-1) >> 12) }

// Buffer returns memory of at least n bytes, at most 1 MiB, aligned to a page, with any content.
func (l *Layer) Buffer(n int) (kern.DMA, error) {
	if n <= 0 || n > maxBuffer {
		return kern.DMA{}, fmt.Errorf("a buffer of %d bytes: at most %d can be had", n, maxBuffer)
	}
	p, o := &l.pool, order(n)
	p.mu.Lock()
	if s := p.free[o]; len(s) > 0 {
		m := s[len(s)-1]
		p.free[o] = s[:len(s)-1]
		p.mu.Unlock()
		return m, nil
	}
	p.mu.Unlock()
	return p.k.AllocDMA(4096<<o, 4096, 0)
}

// some is Buffer for what can be done piece by piece: where memory is short it may be less, but not less than 4096 bytes.
func (l *Layer) some(n int64) (kern.DMA, int64, error) {
	for {
		m, err := l.Buffer(int(n))
		if err == nil || n <= 4096 {
			return m, n, err
		}
		n = max(n/2&^4095, 4096)
	}
}

// drain frees what is not in use.
func (p *pool) drain() {
	p.mu.Lock()
	all := p.free
	p.free = [9][]kern.DMA{}
	p.mu.Unlock()
	for _, s := range all {
		for _, m := range s {
			p.k.FreeDMA(m)
		}
	}
}

// Release gives a buffer back.
func (l *Layer) Release(m kern.DMA) {
	if len(m.Bytes) == 0 {
		return
	}
	p, o := &l.pool, order(len(m.Bytes))
	p.mu.Lock()
	if len(p.free[o]) < keep>>(o/3) {
		p.free[o] = append(p.free[o], m)
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	p.k.FreeDMA(m)
}
