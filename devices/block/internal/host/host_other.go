//go:build !linux

package host

import (
	"errors"
	"os"
)

const directFlag = 0

// Without advisory locks double use goes unnoticed.
func lock(*os.File, bool) error { return nil }

func unlock(*os.File) {}

func datasync(f *os.File) error { return f.Sync() }

func punch(*os.File, int64, int64) error { return errors.ErrUnsupported }

func zeroRange(*os.File, int64, int64) error { return errors.ErrUnsupported }

func allocate(*os.File, int64, int64) error { return errors.ErrUnsupported }

func writeSync(*os.File, []byte, int64) error { return errors.ErrUnsupported }

func seekData(*os.File, int64, int64) (from, to int64, err error) {
	return 0, 0, errors.ErrUnsupported
}

// Usage is how many bytes of the host's disk a file takes.
func Usage(st os.FileInfo) int64 { return st.Size() }
