package images

import (
	"context"
	"os"
	"testing"
)

// TestLinux builds the default guest for real, into the user's cache.
func TestLinux(t *testing.T) {
	if testing.Short() {
		t.Skip("builds u-root's commands")
	}
	var progress testWriter = func(p []byte) { t.Logf("%s", p) }
	g, err := Linux(context.Background(), UserCache(), progress)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{g.Kernel, g.Initrd} {
		if st, err := os.Stat(f); err != nil || st.Size() < 1<<20 {
			t.Errorf("%s: %v, want a file of at least 1 MiB", f, err)
		}
	}
}

type testWriter func(p []byte)

func (w testWriter) Write(p []byte) (int, error) { w(p); return len(p), nil }
