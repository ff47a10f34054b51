package qcow2

import (
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
)

// TestBitmaps checks an image with a persistent bitmap, and that changing the
// image makes the bitmap known to be out of date.
func TestBitmaps(t *testing.T) {
	name := filepath.Join(tempDir(t), "disk.qcow2")
	qemu(t, "create", "-q", "-f", "qcow2", name, "4M")
	qemu(t, "bitmap", "--add", name, "marks")
	checkClean(t, name)
	model := make([]byte, 4<<20)
	im := open(t, name, Options{})
	if im.h.AutoclearFeatures&autoclearBitmaps == 0 {
		t.Fatal("there is no bitmap")
	}
	mutate(t, rand.New(rand.NewPCG(1, 2)), im, model, 30)
	closeImage(t, im)
	compareContent(t, name, model)
	r, err := Check(name, FixNothing)
	if err != nil || r.Errors > 0 || r.Leaks == 0 {
		t.Fatalf("the bitmap's clusters should be leaks: %+v, %v", r, err)
	}
	if out := qemu(t, "info", name); strings.Contains(out, "marks") {
		t.Error("the bitmap is believed in:", out)
	}
	if r, err = Check(name, FixLeaks); err != nil || !r.Clean() {
		t.Fatalf("%+v, %v", r, err)
	}
	if r, err = Check(name, FixNothing); err != nil || r.Leaks+r.Errors > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	compareContent(t, name, model)
}
