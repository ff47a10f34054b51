package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"dfemu/machine"
)

// completeAccel lets shells complete the value of a flag that takes an
// accelerator.
func completeAccel(c *cobra.Command, flag string) {
	completeWords(c, flag, machine.Accelerators()...)
}

// completeWords lets shells complete the value of a flag from words. Flags
// without it complete file names.
func completeWords(c *cobra.Command, flag string, words ...string) {
	err := c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(fmt.Sprintf("%s --%s: %v", c.Name(), flag, err)) // the flag is not there: a mistake in this program
	}
}
