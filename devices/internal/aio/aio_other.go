//go:build !linux || !(amd64 || arm64)

package aio

import "syscall"

// context is not there on this host: setup says so, and nothing else is called.
type context struct{}

type answer struct{ slot, n int }

func (*context) setup(int) error        { return ErrUnsupported }
func (*context) submit([]*Op) int       { return 0 }
func (*context) wait() ([]answer, bool) { return nil, false }
func (*context) stop()                  {}
func (*context) destroy()               {}

func interrupted(int) bool  { return false }
func hostError(n int) error { return syscall.Errno(-n) }

type vector struct{}

func (*vector) set([][]byte)          {}
func (*vector) read(int, int64) error { return ErrUnsupported }
func (*vector) advance(int) bool      { return true }
