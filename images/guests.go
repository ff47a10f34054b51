package images

import (
	"fmt"
	"os"
	"path/filepath"
)

// GuestsDir is the directory in which tests/install-debian puts kernels, one
// directory for each package: the one that the environment variable
// DFEMU_GUESTS names, or one below the user's cache directory.
func GuestsDir() (string, error) {
	if d := os.Getenv("DFEMU_GUESTS"); d != "" {
		return d, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the guests' kernels: %w", err)
	}
	return filepath.Join(cache, "dfemu", "guests"), nil
}
