package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"dfemu/devices"
	"dfemu/devices/block"
	"dfemu/devices/block/qcow2"
	"dfemu/machine"
)

// newImageDisks are the commands for disk images.
func newImageDisks() []*cobra.Command {
	return []*cobra.Command{newImageInfo(), newImageCheck(), newImageCreate(), newImageConvert(), newImageSnapshot()}
}

// newImageInfo is the command that describes an image.
func newImageInfo() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "info FILE",
		Short:   "describe a qcow2 image",
		Example: "  dfemu image info disk.qcow2",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			i, err := qcow2.ReadInfo(args[0])
			if err != nil {
				return &machine.FileError{What: "image", Name: args[0], Err: err}
			}
			if asJSON {
				return writeJSON(c.OutOrStdout(), i)
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 8, 2, ' ', 0)
			row := func(what string, v any) { fmt.Fprintf(w, "%s:\t%v\n", what, v) }
			row("image", i.File)
			row("format", fmt.Sprintf("%s version %d", i.Format, i.Version))
			row("disk", fmt.Sprintf("%d bytes", i.VirtualSize))
			row("takes", fmt.Sprintf("%d bytes", i.ActualSize))
			row("clusters", fmt.Sprintf("%d bytes, %s", i.ClusterSize, i.Compression))
			row("refcounts", fmt.Sprintf("%d bits", i.RefcountBits))
			for _, f := range []struct {
				on   bool
				name string
			}{{i.LazyRefcounts, "lazy refcounts"}, {i.ExtendedL2, "extended L2 entries"}, {i.Dirty, "not closed properly"}, {i.Corrupt, "marked as damaged"}} {
				if f.on {
					row("flag", f.name)
				}
			}
			if i.BackingFile != "" {
				row("backing file", fmt.Sprintf("%s (%s)", i.BackingFile, i.BackingFormat))
			}
			for _, s := range i.Snapshots {
				row("snapshot", fmt.Sprintf("%s %q of %s", s.ID, s.Name, s.Date.Format(time.DateTime)))
			}
			return w.Flush()
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return c
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// newImageCheck is the command that checks an image.
func newImageCheck() *cobra.Command {
	var repair string
	var asJSON bool
	c := &cobra.Command{
		Use:   "check FILE",
		Short: "check a qcow2 image, and repair it",
		Long: "Check the structures of a qcow2 image that nothing uses, not those of its backing files.\n" +
			"The exit status is 1 if something is wrong that was not repaired.",
		Example: "  dfemu image check disk.qcow2\n  dfemu image check --repair all disk.qcow2",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			fix, ok := map[string]qcow2.Fix{"": qcow2.FixNothing, "leaks": qcow2.FixLeaks, "all": qcow2.FixAll}[repair]
			if !ok {
				return usageError{fmt.Errorf("--repair %s: must be leaks or all", repair)}
			}
			r, err := qcow2.Check(args[0], fix)
			if err != nil {
				return &machine.FileError{What: "image", Name: args[0], Err: err}
			}
			if asJSON {
				err = writeJSON(c.OutOrStdout(), r)
			} else {
				for _, p := range r.Problems {
					fmt.Fprintln(c.OutOrStdout(), p)
				}
				_, err = fmt.Fprintf(c.OutOrStdout(), "%d errors, %d repaired; %d leaked clusters, %d repaired; %d of %d clusters in use\n",
					r.Errors, r.ErrorsFixed, r.Leaks, r.LeaksFixed, r.AllocatedClusters, r.TotalClusters)
			}
			if err == nil && !r.Clean() {
				err = outcomeError{status: 1}
			}
			return err
		},
	}
	c.Flags().StringVar(&repair, "repair", "", "repair `WHAT`: leaks, or all that can be computed again")
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return c
}

// newImageCreate is the command that makes an empty image.
func newImageCreate() *cobra.Command {
	var o qcow2.CreateOptions
	var format string
	var l layout
	c := &cobra.Command{
		Use:   "create FILE [SIZE]",
		Short: "make an empty image",
		Long:  "Make an empty image. SIZE is as 512M or 4G; without it the disk has the size of the backing file's.",
		Example: "  dfemu image create disk.qcow2 10G\n" +
			"  dfemu image create --backing-file base.img --backing-format raw layer.qcow2",
		Args: usageArgs(cobra.RangeArgs(1, 2)),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 2 {
				n, err := parseSize(args[1])
				if err != nil {
					return usageError{fmt.Errorf("size %s: %w", args[1], err)}
				}
				o.Size = int64(n)
			}
			switch format {
			case "raw":
				if o.Size == 0 || o.BackingFile != "" {
					return usageError{errors.New("a raw image needs a size, and has no backing file")}
				}
				return createRaw(args[0], o.Size)
			case "qcow2":
			default:
				return usageError{fmt.Errorf("--format %s: must be raw or qcow2", format)}
			}
			if err := l.into(&o); err != nil {
				return usageError{err}
			}
			return qcow2.Create(args[0], o)
		},
	}
	f := c.Flags()
	f.StringVarP(&format, "format", "f", "qcow2", "raw or qcow2")
	f.StringVarP(&o.BackingFile, "backing-file", "b", "", "the image below, relative to the new one's folder")
	f.StringVarP(&o.BackingFormat, "backing-format", "F", "", "its format: raw or qcow2")
	l.flags(c)
	return c
}

// layout is the part of a new image's options that is written as text.
type layout struct {
	cluster     int64
	compression string
	version     int
	lazy        bool
	extended    bool
}

func (l *layout) flags(c *cobra.Command) {
	f := c.Flags()
	f.Int64Var(&l.cluster, "cluster-size", 65536, "bytes of a cluster")
	f.StringVar(&l.compression, "compression", "zlib", "of compressed clusters: zlib or zstd")
	f.IntVar(&l.version, "qcow2-version", 3, "version of the format: 2 or 3")
	f.BoolVar(&l.lazy, "lazy-refcounts", false, "write reference counts when the image is closed")
	f.BoolVar(&l.extended, "extended-l2", false, "32 subclusters in a cluster")
}

func (l *layout) into(o *qcow2.CreateOptions) (err error) {
	o.ClusterSize, o.Version, o.LazyRefcounts, o.ExtendedL2 = l.cluster, l.version, l.lazy, l.extended
	o.Compression, err = qcow2.ParseCompression(l.compression)
	return err
}

// createRaw makes a file of zeroes.
func createRaw(name string, size int64) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

// newImageConvert is the command that copies a disk to a new image.
func newImageConvert() *cobra.Command {
	var o qcow2.ConvertOptions
	var from, to string
	var l layout
	c := &cobra.Command{
		Use:   "convert SOURCE FILE",
		Short: "copy a disk to a new image",
		Long: "Copy a disk to a new image. SOURCE is what dfemu boot --disk takes before the first comma: a raw\n" +
			"or qcow2 image, with what is below it, or nbd://HOST/EXPORT.",
		Example: "  dfemu image convert disk.img disk.qcow2\n  dfemu image convert --compress --compression zstd disk.img small.qcow2\n" +
			"  dfemu image convert --to raw disk.qcow2 disk.img",
		Args: usageArgs(cobra.ExactArgs(2)),
		RunE: func(_ *cobra.Command, args []string) error {
			switch to {
			case "raw":
				o.Raw = true
			case "qcow2":
			default:
				return usageError{fmt.Errorf("--to %s: must be raw or qcow2", to)}
			}
			if err := l.into(&o.Create); err != nil {
				return usageError{err}
			}
			src, err := openSource(args[0], from)
			if err != nil {
				return err
			}
			return errors.Join(qcow2.Convert(args[1], src, o), src.Close())
		},
	}
	c.Flags().StringVar(&from, "from", "", "format of the source, if not told by its name: raw or qcow2")
	c.Flags().StringVar(&to, "to", "qcow2", "format of the new image: raw or qcow2")
	c.Flags().BoolVarP(&o.Compress, "compress", "c", false, "compress what that makes smaller")
	l.flags(c)
	return c
}

// openSource opens a disk that is only read. Without a format, the name decides, not the content: a guest may have
// written that.
func openSource(name, format string) (devices.Block, error) {
	o := block.Options{File: name, ReadOnly: true, Format: block.Format(format)}
	switch format {
	case "":
		if ext := filepath.Ext(name); ext == ".qcow2" || ext == ".qcow" {
			o.Format = block.FormatQcow2
		}
	case "raw", "qcow2":
	default:
		return nil, usageError{fmt.Errorf("--from %s: must be raw or qcow2", format)}
	}
	b, err := block.Open(o, nil)
	if err != nil {
		return nil, &machine.FileError{What: "image", Name: name, Err: err}
	}
	return b, nil
}

// newImageSnapshot is the command for the snapshots inside an image.
func newImageSnapshot() *cobra.Command {
	var create, apply, remove string
	c := &cobra.Command{
		Use:     "snapshot FILE",
		Short:   "list, make, apply or delete snapshots in a qcow2 image",
		Example: "  dfemu image snapshot disk.qcow2\n  dfemu image snapshot --create before disk.qcow2\n  dfemu image snapshot --apply before disk.qcow2",
		Args:    usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) (err error) {
			im, err := qcow2.Open(args[0], qcow2.Options{ReadOnly: create == "" && apply == "" && remove == ""})
			if err != nil {
				return &machine.FileError{What: "image", Name: args[0], Err: err}
			}
			defer func() { err = errors.Join(err, im.Close()) }()
			switch {
			case create != "":
				_, err = im.CreateSnapshot(create, time.Now(), 0)
			case apply != "":
				err = im.ApplySnapshot(apply)
			case remove != "":
				err = im.DeleteSnapshot(remove)
			default:
				w := tabwriter.NewWriter(c.OutOrStdout(), 0, 8, 2, ' ', 0)
				fmt.Fprintln(w, "ID\tNAME\tMADE\tDISK")
				for _, s := range im.Snapshots() {
					fmt.Fprintf(w, "%s\t%s\t%s\t%d\n", s.ID, s.Name, s.Date.Format(time.DateTime), s.DiskSize)
				}
				err = w.Flush()
			}
			return err
		},
	}
	f := c.Flags()
	f.StringVarP(&create, "create", "c", "", "make a snapshot with this `NAME`")
	f.StringVarP(&apply, "apply", "a", "", "make the disk what it was at this snapshot")
	f.StringVarP(&remove, "delete", "d", "", "delete this snapshot")
	c.MarkFlagsMutuallyExclusive("create", "apply", "delete")
	return c
}
