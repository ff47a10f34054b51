package images

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Cache keeps what was built, by what it was built from.
type Cache struct {
	Dir string
}

// UserCache is the cache below the user's cache directory, or below the
// temporary directory where there is none.
func UserCache() Cache {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return Cache{filepath.Join(dir, "dfemu", "images")}
}

// key condenses what an image depends on into a file name.
func key(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// file returns the path of the file called name in the cache; when it is not
// there yet, make writes it to a temporary path first, so that no half-written
// file is ever found.
func (c Cache) file(name string, make func(path string) error) (string, error) {
	path := filepath.Join(c.Dir, name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return "", fmt.Errorf("image cache: %w", err)
	}
	tmp, err := os.MkdirTemp(c.Dir, ".build-*")
	if err != nil {
		return "", fmt.Errorf("image cache: %w", err)
	}
	defer os.RemoveAll(tmp)
	built := filepath.Join(tmp, "image")
	if err := make(built); err != nil {
		return "", err
	}
	if err := os.Rename(built, path); err != nil {
		return "", fmt.Errorf("image cache: %w", err)
	}
	return path, nil
}
