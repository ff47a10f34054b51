// Command dfemu boots PC guests: a full-system x86-64 machine monitor.
//
// Flags go in, a machine.Config comes out, and the machine's outcome becomes an
// exit status; everything else lives in the packages below.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"dfemu/machine"
)

func main() {
	// A console whose reader has gone must not end the guest.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := newRoot().ExecuteContext(ctx)
	stop()
	os.Exit(exitStatus(err))
}

// newRoot is the command tree.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "dfemu",
		Short: "boot PC guests on a machine written in Go",
		Long: "dfemu is a full-system x86-64 machine monitor: it boots kernels and disk images\n" +
			"in a Q35-like PC, on KVM or on processors in software.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          usageArgs(cobra.NoArgs),
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w (see %s --help)", err, c.CommandPath())}
	})
	root.AddCommand(newBoot(), newImage(), newPerf(), newCtl(), newBench(), newConformance(), newMan(root))
	return root
}

// usageError is an error of the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// exitStatus prints an error, if it has something to say, and returns the status
// to exit with.
func exitStatus(err error) int {
	if err == nil {
		return 0
	}
	var out outcomeError
	if errors.As(err, &out) {
		if out.message != "" {
			fmt.Fprintln(os.Stderr, "dfemu:", out.message)
		}
		return out.status
	}
	fmt.Fprintln(os.Stderr, "dfemu:", err)
	var usage usageError
	var file *machine.FileError
	if errors.As(err, &usage) || errors.As(err, &file) {
		return statusUsage
	}
	return statusHost
}
