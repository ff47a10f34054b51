package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"dfemu/images"
)

// newImageBuild is the command that builds what dfemu boots by itself.
func newImageBuild() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "build kernel -o FILE",
		Short: "build the guest kernel",
		Long: "Build the guest kernel, or take it from the cache, and write it to a file: an ELF image that\n" +
			"dfemu boot FILE starts, and qemu-system-x86_64 -M q35 -kernel FILE -display none -serial stdio.",
		Example:   "  dfemu image build kernel -o kernel.elf",
		Args:      usageArgs(cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs)),
		ValidArgs: []string{"kernel"},
		RunE: func(c *cobra.Command, _ []string) error {
			if output == "" {
				return usageError{errors.New("-o FILE is missing")}
			}
			from, err := images.BuildKernel(c.Context(), images.UserCache(), c.ErrOrStderr())
			if err != nil {
				return err
			}
			return copyFile(from, output)
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "write the image to this `FILE`")
	return c
}

// copyFile copies a file; the new one appears whole or not at all.
func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	tmp, err := os.CreateTemp(filepath.Dir(to), "."+filepath.Base(to)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // it has another name if all went well
	_, err = io.Copy(tmp, in)
	if err == nil {
		err = tmp.Chmod(0o644)
	}
	if e := tmp.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), to)
}
