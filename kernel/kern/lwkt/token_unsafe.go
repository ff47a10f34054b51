package lwkt

import "unsafe"

// tokenAddr is a token's address. Threads hold tokens by address and not by pointer,
// because a pointer could not be stored where there is no write barrier. It stays
// valid because the token does not move (Go's collector does not move objects) and is
// kept alive by whoever called GetToken, until it has called ReleaseToken.
type tokenAddr uintptr

func addressOf(t *Token) tokenAddr { return tokenAddr(unsafe.Pointer(t)) }

func (a tokenAddr) token() *Token { return *(**Token)(unsafe.Pointer(&a)) }
