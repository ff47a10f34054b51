//go:build !linux

package bench

import "fmt"

// inNamespace reports that there are no network namespaces.
func inNamespace(func() error) error { return fmt.Errorf("%w: this host has none", errNoTap) }

func (t tapEnd) configure(<-chan struct{}) error { return errNoTap }
