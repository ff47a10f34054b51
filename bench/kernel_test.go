package bench

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// fakeKernel stands for a monitor that boots the guest kernel; with 2 CPUs that panics.
const fakeKernel = `#!/bin/sh
case "$*" in
*--kernel=own*dfly.run=bench*) ;;
*) echo "not the guest kernel: $*" >&2; exit 1;;
esac
echo "[    0.080706] Copyright (c) 2026"
echo "[    0.179109] ready after 179 ms"
case "$*" in
*--cpus=2*) echo "panic: as asked for"; exit 6;;
esac
printf 'bench: switch 850.5 ns, 97181 times: context switch\r\n'
echo "bench: token 1000.0 ns, 5 times: take and release"
echo "bench: ipi needs 2 CPUs"
echo "bench: broken"
`

func TestGuestKernel(t *testing.T) {
	if _, err := os.Stat("/bin/sh"); err != nil || runtime.GOOS != "linux" {
		t.Skip("needs a shell")
	}
	self := filepath.Join(t.TempDir(), "fake")
	if err := os.WriteFile(self, []byte(fakeKernel), 0o700); err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Self: self, Accels: []string{"interp"}, CPUs: []int{1, 2}, Memory: 64, Rounds: 2, Rows: []string{"kernel"},
		Time: 1, Idle: 1, Timeout: time.Minute,
	}
	if _, err := Run(context.Background(), cfg); err == nil {
		t.Error("measured no guest kernel")
	}
	cfg.GuestKernel = "own"
	rep, err := Run(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, m := range rep.Results {
		if m.CPUs != 1 || len(m.Values) != 2 {
			t.Errorf("%+v, want two values with 1 CPU", m)
		}
		got[m.Quantity] = m.Median
	}
	if len(got) != 4 || got["switch"] != 0.8505 || got["token"] != 1 || got["start to prompt"] < got["start to first line"] {
		t.Errorf("results %v", got)
	}
	if len(rep.Failures) != 2 || !strings.Contains(rep.Failures[0], "panic: as asked for") {
		t.Errorf("failures %q, want two that show the last lines", rep.Failures)
	}
	var out bytes.Buffer
	if err := rep.Print(&out); err != nil || !strings.Contains(out.String(), "the guest kernel, 1 CPU") {
		t.Errorf("printed %v:\n%s", err, out.String())
	}
}
