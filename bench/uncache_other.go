//go:build !linux

package bench

import "os"

// uncache does nothing where there is no way to.
func uncache(*os.File) error { return nil }
