package lwkt

import "sync/atomic"

// Token serializes threads. A thread that blocks gives up all its tokens and has them
// all again before it runs on: what a token protects may have changed in between, but
// tokens can be taken in any order without deadlock. The zero Token is free.
type Token struct {
	// count has tokenExcl while a thread holds the token exclusively,
	// tokenWanted while one waits to, and tokenShare for each shared or recursive hold.
	count atomic.Uint64
	// owner is the exclusive holder and the place among its tokens.
	owner      atomic.Uint32
	collisions atomic.Uint64
	Name       string
}

const (
	tokenExcl   = 1
	tokenWanted = 2
	tokenShare  = 4
)

// Mode is how a token is taken.
type Mode uint8

// Modes.
const (
	Exclusive Mode = iota
	Shared
)

// tokenRef is one hold of a thread.
type tokenRef struct {
	tok  tokenAddr
	mode Mode
	held bool
}

// spinOrder is how many rounds a thread tries its tokens in the order it took them; then it
// goes by address, as all that compete do.
const spinOrder = 8

// Collisions is how often the token could not be had at the first attempt.
func (t *Token) Collisions() uint64 { return t.collisions.Load() }

// Held tells whether a thread holds the token exclusively.
func (t *Token) Held() bool { return t.count.Load()&tokenExcl != 0 }

// ownerOf encodes a thread and a place among its tokens.
func ownerOf(id ThreadID, slot int) uint32 { return uint32(id)<<8 | uint32(slot) }

// take tries to hold the token in slot of a thread. Sole is set when the thread
// holds and wants no other, want when a failure shall keep new sharers out.
func (tok *Token) take(id ThreadID, slot int, mode Mode, sole, want bool) bool {
	for {
		count := tok.count.Load()
		mine := count&tokenExcl != 0 && ThreadID(tok.owner.Load()>>8) == id
		switch {
		case mine:
			tok.count.Add(tokenShare)
			return true
		case mode == Shared:
			if count&tokenExcl != 0 || sole && count&tokenWanted != 0 {
				return false
			}
			if tok.count.CompareAndSwap(count, count+tokenShare) {
				return true
			}
		case count&^tokenWanted != 0:
			if !want || count&tokenWanted != 0 || tok.count.CompareAndSwap(count, count|tokenWanted) {
				return false
			}
		case tok.count.CompareAndSwap(count, tokenExcl):
			tok.owner.Store(ownerOf(id, slot))
			return true
		}
	}
}

// drop undoes take.
func (tok *Token) drop(id ThreadID, slot int) {
	if tok.count.Load()&tokenExcl != 0 && tok.owner.Load() == ownerOf(id, slot) {
		tok.owner.Store(0)
		tok.count.Add(^uint64(tokenExcl - 1))
		return
	}
	tok.count.Add(^uint64(tokenShare - 1))
}

// GetToken takes a token for the current thread. If the token cannot be had the CPU switches, and
// the thread has the token once it runs again.
func (c *CPU) GetToken(tok *Token, mode Mode) {
	if !c.TryToken(tok, mode) {
		c.WaitToken(tok, mode)
	}
}

// WaitToken is GetToken after TryToken has failed.
func (c *CPU) WaitToken(tok *Token, mode Mode) {
	if c.push(tok, mode, true) {
		return
	}
	for range 32 {
		c.sys.p.Pause(c.id)
		t := c.thread(c.cur)
		if r := &t.toks[t.ntoks-1]; tok.take(t.id, t.ntoks-1, mode, t.ntoks == 1, true) {
			r.held = true
			return
		}
	}
	c.Switch()
}

// TryToken takes a token for the current thread if that is possible at once.
func (c *CPU) TryToken(tok *Token, mode Mode) bool {
	if c.push(tok, mode, false) {
		return true
	}
	tok.collisions.Add(1)
	t := c.thread(c.cur)
	t.ntoks--
	t.toks[t.ntoks] = tokenRef{}
	return false
}

// push adds a hold and tries to get it.
func (c *CPU) push(tok *Token, mode Mode, want bool) bool {
	t := c.thread(c.cur)
	if t.ntoks == MaxTokens {
		c.sys.p.Panic("lwkt: a thread takes more than 32 tokens")
		return false
	}
	if mode == Exclusive {
		for i := range t.ntoks {
			if r := &t.toks[i]; r.tok.token() == tok && r.mode == Shared && tok.owner.Load()>>8 != uint32(t.id) {
				c.sys.p.Panic("lwkt: a thread that shares a token takes it exclusively")
				return false
			}
		}
	}
	slot := t.ntoks
	t.ntoks++
	held := tok.take(t.id, slot, mode, slot == 0, want)
	t.toks[slot] = tokenRef{addressOf(tok), mode, held}
	return held
}

// ReleaseToken releases the token the current thread took last, which must be tok.
func (c *CPU) ReleaseToken(tok *Token) {
	t := c.thread(c.cur)
	if t.ntoks == 0 || t.toks[t.ntoks-1].tok.token() != tok {
		c.sys.p.Panic("lwkt: tokens are not released in reverse order")
		return
	}
	t.ntoks--
	if t.toks[t.ntoks].held {
		tok.drop(t.id, t.ntoks)
	}
	t.toks[t.ntoks] = tokenRef{}
}

// HoldsToken tells whether the current thread has tok.
func (c *CPU) HoldsToken(tok *Token) bool {
	t := c.thread(c.cur)
	for i := range t.ntoks {
		if r := &t.toks[i]; r.held && r.tok.token() == tok {
			return true
		}
	}
	return false
}

// Tokens is the number of tokens the thread has taken.
func (t *Thread) Tokens() int { return t.ntoks }

// releaseTokens gives up a thread's tokens, the last first, to be taken again.
func (c *CPU) releaseTokens(t *Thread) {
	for i := t.ntoks - 1; i >= 0; i-- {
		if r := &t.toks[i]; r.held {
			r.held = false
			r.tok.token().drop(t.id, i)
		}
	}
}

// acquireTokens takes all tokens of a thread that is about to run, or none.
func (c *CPU) acquireTokens(t *Thread) bool {
	var order [MaxTokens]uint8
	for i := range t.ntoks {
		order[i] = uint8(i)
	}
	if t.spins >= spinOrder {
		for i := 1; i < t.ntoks; i++ {
			for j := i; j > 0 && t.toks[order[j]].tok < t.toks[order[j-1]].tok; j-- {
				order[j], order[j-1] = order[j-1], order[j]
			}
		}
	}
	for n := range t.ntoks {
		i := int(order[n])
		r := &t.toks[i]
		if r.tok.token().take(t.id, i, r.mode, t.ntoks == 1, true) {
			r.held = true
			continue
		}
		for n--; n >= 0; n-- {
			i := int(order[n])
			t.toks[i].held = false
			t.toks[i].tok.token().drop(t.id, i)
		}
		t.spins++
		c.Stats.TokenContention++
		return false
	}
	t.spins = 0
	return true
}
