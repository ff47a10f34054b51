package kern

import "sync"

// poolSize is the number of tokens in the pool, a power of two.
const poolSize = 16384

// TokenPool is tokens for things that have none of their own, chosen by address. Two things may share a token: who takes
// tokens of the pool for both may therefore get the same one twice, which is allowed as tokens are recursive, but must
// take both in the same mode.
type TokenPool struct {
	once sync.Once
	toks []Token
}

// Of returns the token for an address; it is always the same one.
func (p *TokenPool) Of(addr uintptr) *Token {
	p.once.Do(func() {
		p.toks = make([]Token, poolSize)
		for i := range p.toks {
			p.toks[i].Name = "pool"
		}
	})
	// Things are aligned: the low bits say little. The middle of the product depends on all others.
	return &p.toks[uint64(addr)>>4*0x9e3779b97f4a7c15>>40%poolSize]
}

// PoolToken returns the token of the kernel's pool for the address of a thing that has none of its own; see [TokenPool].
func (k *Kernel) PoolToken(addr uintptr) *Token { return k.pool.Of(addr) }
