// Package images builds or finds what machines boot: kernels, initial RAM
// disks and disk images. What takes time is cached by its content.
package images

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"

	_ "github.com/gokrazy/kernel.amd64" // keeps the kernel's version in go.mod
	"github.com/u-root/gobusybox/src/pkg/golang"
	"github.com/u-root/mkuimage/uimage"
	_ "github.com/u-root/u-root/pkg/align" // keeps the commands' version in go.mod
	"github.com/u-root/uio/llog"
)

// The modules that the default guest is made of.
const (
	kernelModule = "github.com/gokrazy/kernel.amd64"
	urootModule  = "github.com/u-root/u-root"
)

// Guest is what a machine boots by a kernel.
type Guest struct {
	Kernel  string // path of a bzImage
	Initrd  string // path of a cpio archive
	Cmdline string
}

// Linux returns the default Linux guest: the kernel of the gokrazy project, and an
// initial RAM disk with u-root's core commands and a shell. It needs the go
// command, and the module proxy unless the modules are there already. Progress is
// told to w in lines.
func Linux(ctx context.Context, c Cache, w io.Writer) (Guest, error) {
	kernel, err := LinuxKernel(ctx)
	if err != nil {
		return Guest{}, err
	}
	udir, err := moduleDir(ctx, urootModule)
	if err != nil {
		return Guest{}, err
	}
	initrd, err := c.file("u-root-"+key(udir, goVersion(ctx))+".cpio", func(path string) error {
		fmt.Fprintln(w, "building the initial RAM disk from u-root (once, about a minute)")
		return buildInitrd(udir, path)
	})
	if err != nil {
		return Guest{}, fmt.Errorf("build the default guest's initial RAM disk: %w", err)
	}
	return Guest{
		Kernel:  kernel,
		Initrd:  initrd,
		Cmdline: "console=ttyS0",
	}, nil
}

// LinuxKernel returns the path of the default Linux kernel, a bzImage.
func LinuxKernel(ctx context.Context) (string, error) {
	dir, err := moduleDir(ctx, kernelModule)
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "vmlinuz"), nil
}

// buildInitrd writes a cpio archive with u-root's core commands to path.
func buildInitrd(udir, path string) error {
	tmp, err := os.MkdirTemp(filepath.Dir(path), "u-root-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	var log bytes.Buffer
	l := llog.New(slog.LevelInfo, func(format string, args ...any) { fmt.Fprintf(&log, format+"\n", args...) })
	opts, err := uimage.OptionsFor(
		uimage.WithReplaceEnv(golang.Default(golang.DisableCGO(),
			golang.WithGOOS("linux"), golang.WithGOARCH("amd64"), golang.WithWorkingDir(udir))),
		uimage.WithBaseArchive(uimage.DefaultRamfs()),
		uimage.WithTempDir(tmp),
		uimage.WithCPIOOutput(path),
		uimage.WithInit("init"),
		uimage.WithShell("gosh"),
		uimage.WithBusyboxCommands(urootModule+"/cmds/core/*"),
	)
	if err == nil {
		err = opts.Create(l)
	}
	if err != nil {
		return fmt.Errorf("%w\n%s", err, strings.TrimSpace(log.String()))
	}
	return nil
}

// moduleDir returns the directory of a module at the version this program was
// built with, fetching it if need be.
func moduleDir(ctx context.Context, path string) (string, error) {
	version, err := moduleVersion(ctx, path)
	if err != nil {
		return "", err
	}
	out, err := goCommand(ctx, "mod", "download", "-json", path+"@"+version)
	var m struct{ Dir, Error string }
	if jerr := json.Unmarshal(out, &m); jerr == nil && m.Error != "" {
		return "", fmt.Errorf("fetch %s: %s", path, m.Error)
	}
	if err != nil {
		return "", fmt.Errorf("fetch %s: %w", path, err)
	}
	if m.Dir == "" {
		return "", fmt.Errorf("fetch %s@%s: the go command named no directory", path, version)
	}
	return m.Dir, nil
}

// moduleVersion returns the version of a dependency of this program.
func moduleVersion(ctx context.Context, path string) (string, error) {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == path {
				return d.Version, nil
			}
		}
	}
	// Test binaries carry no list of dependencies; ask the module itself.
	out, err := goCommand(ctx, "list", "-m", "-f", "{{.Version}}", path)
	if err != nil {
		return "", fmt.Errorf("find the version of %s: %w", path, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// goVersion names the toolchain, which decides what a build yields.
func goVersion(ctx context.Context) string {
	out, err := goCommand(ctx, "env", "GOVERSION")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// goCommand runs the go command and returns its output.
func goCommand(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, errors.New("the go command is not in PATH: install Go, or give --kernel and --initrd")
	}
	if err != nil {
		return out, fmt.Errorf("go %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}
