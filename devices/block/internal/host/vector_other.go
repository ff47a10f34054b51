//go:build !linux || !(amd64 || arm64)

package host

import "os"

// transferVectors moves between the file at off and all of bufs.
func transferVectors(f *os.File, bufs [][]byte, off int64, write bool) error {
	for _, b := range bufs {
		var err error
		n := 0
		if write {
			n, err = f.WriteAt(b, off)
		} else {
			n, err = f.ReadAt(b, off)
		}
		if n != len(b) {
			return err
		}
		off += int64(n)
	}
	return nil
}
