package kern

import "testing"

func TestTokenPool(t *testing.T) {
	k := New(&Host{})
	const things = 4096
	uses := map[*Token]int{}
	for i := range uintptr(things) {
		a := 0x7e0000000000 + i*64
		tok := k.PoolToken(a)
		if again := k.PoolToken(a); again != tok {
			t.Fatalf("address %#x has two tokens", a)
		}
		uses[tok]++
	}
	// Of 4096 things among 16384 tokens some meet by chance, few of them often.
	if len(uses) < things*3/4 {
		t.Errorf("%d things share %d tokens", things, len(uses))
	}
	for _, n := range uses {
		if n > 8 {
			t.Errorf("a token is that of %d things", n)
		}
	}
	tok := k.PoolToken(64)
	k.GetToken(tok, Exclusive)
	k.ReleaseToken(tok)
	if tok.Name != "pool" {
		t.Errorf("the token is called %q", tok.Name)
	}
}
