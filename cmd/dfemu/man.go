package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// newMan is the command that writes the manual pages, from the same texts as --help.
func newMan(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "write manual pages into a directory",
		Args:  usageArgs(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			for _, c := range root.Commands() {
				if c.Name() == "boot" {
					// In a manual, indented text stays as it is.
					c.Long += "\n\n\t" + strings.ReplaceAll(statusHelp, "\n", "\n\t")
				}
			}
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return usageError{err}
			}
			return doc.GenManTree(root, &doc.GenManHeader{Title: "DFEMU", Section: "1", Source: "dfemu"}, args[0])
		},
	}
}
