package main

import "github.com/spf13/cobra"

// newImage is the command for files that machines boot from.
func newImage() *cobra.Command {
	c := &cobra.Command{
		Use:   "image",
		Short: "make and look at images",
		Args:  usageArgs(cobra.NoArgs),
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newImageBuild())
	c.AddCommand(newImageDisks()...)
	return c
}
