package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
)

// kernelPackage is the guest kernel's main package.
const kernelPackage = "dfemu/kernel/cmd/kernel"

// kernelEntry is the symbol at which the boot stub enters the kernel.
const kernelEntry = "dfemu/kernel/platform/pc64.entry"

// BuildKernel returns the path of the guest kernel, an ELF file that is started by
// PVH, Multiboot or a plain 32-bit ELF loader. It is built from the
// module's source by the go command; what was built is kept in c by the content of the
// source. Progress is told to w in lines.
func BuildKernel(ctx context.Context, c Cache, w io.Writer) (string, error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return "", err
	}
	sum, err := sourceSum(root)
	if err != nil {
		return "", fmt.Errorf("build the guest kernel: %w", err)
	}
	version := goVersion(ctx)
	path, err := c.file("kernel-"+key(sum, version)+".elf", func(path string) error {
		fmt.Fprintln(w, "building the guest kernel (once for each version of its source)")
		linked := path + ".linked"
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", linked,
			"-ldflags", fmt.Sprintf("-E %s -T %#x -X main.toolchain=%s", kernelEntry, kernelText, version), kernelPackage)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "GOOS=dragonfly", "GOARCH=amd64", "GOAMD64=v1", "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go build %s: %w\n%s", kernelPackage, err, strings.TrimSpace(string(out)))
		}
		return finishKernel(linked, path)
	})
	if err != nil {
		return "", fmt.Errorf("build the guest kernel: %w", err)
	}
	return path, nil
}

// moduleRoot returns the directory of this module's source: the one the command is
// run in, or the one in the module cache when the program was installed from there.
func moduleRoot(ctx context.Context) (string, error) {
	out, err := goCommand(ctx, "env", "GOMOD")
	if err != nil {
		return "", fmt.Errorf("find the guest kernel's source: %w", err)
	}
	mod := strings.TrimSpace(string(out))
	if data, err := os.ReadFile(mod); err == nil && moduleName(data) == "dfemu" {
		return filepath.Dir(mod), nil
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Path == "dfemu" && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return moduleDir(ctx, "dfemu")
	}
	return "", errors.New("the guest kernel's source is not here: run in a checkout of dfemu, or give --kernel")
}

// moduleName returns what a go.mod file calls its module.
func moduleName(mod []byte) string {
	for line := range strings.Lines(string(mod)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "module "); ok {
			return strings.TrimSpace(name)
		}
	}
	return ""
}

// sourceSum condenses all that decides what the kernel's image contains.
func sourceSum(root string) (string, error) {
	h := sha256.New()
	add := func(name string) error {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%s %d\n", name, len(data))
		h.Write(data)
		return nil
	}
	err := filepath.WalkDir(filepath.Join(root, "kernel"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		ext := filepath.Ext(path)
		if ext != ".go" && ext != ".s" && ext != ".h" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		return add(rel)
	})
	err = errors.Join(err, add("go.mod"), add("go.sum"))
	// The stub and the layout are part of this program.
	fmt.Fprintf(h, "layout 4 %x\n", kernelStub)
	return hex.EncodeToString(h.Sum(nil)), err
}
