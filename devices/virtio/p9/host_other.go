//go:build !linux

package p9

import "errors"

// Sharing a folder needs descriptors with O_PATH, which only Linux has. Elsewhere there are no nodes.

var errNotLinux = errors.New("sharing a folder needs a host with Linux")

type node struct {
	kind uint32
	tree *tree
}

type tree struct{}

type dirent struct {
	name string
	qid  qid
	kind uint8
	next uint64
}

// Fids is for Options.MaxFids.
func Fids(int) int { return 1 }

func openRoot(string, int) (*node, error) { return nil, errNotLinux }
func closeFile(int)                       {}

func (n *node) hold() *node                                       { return n }
func (n *node) drop()                                             {}
func (n *node) isDir() bool                                       { return false }
func (n *node) child(string) (*node, error)                       { return nil, errNotLinux }
func (n *node) up() *node                                         { return n }
func (n *node) place() (*node, string, error)                     { return nil, "", errNotLinux }
func (n *node) moved(*node, string, *node, string)                {}
func (n *node) names() []string                                   { return nil }
func (n *node) qid() qid                                          { return qid{} }
func (n *node) stat(*writer) error                                { return errNotLinux }
func (n *node) statfs(*writer) error                              { return errNotLinux }
func (n *node) open(uint32) (int, error)                          { return -1, errNotLinux }
func (n *node) create(string, uint32, uint32) (*node, int, error) { return nil, -1, errNotLinux }
func (n *node) make(string, uint32, string) (qid, error)          { return qid{}, errNotLinux }
func (n *node) readlink() (string, error)                         { return "", errNotLinux }
func (n *node) link(*node, string) error                          { return errNotLinux }
func (n *node) unlink(string, bool) error                         { return errNotLinux }
func (n *node) rename(string, *node, string) error                { return errNotLinux }
func (n *node) set(*setattr, int) error                           { return errNotLinux }

func readFile(int, []byte, int64) (int, error)                           { return 0, errNotLinux }
func writeFile(int, []byte, int64) (int, error)                          { return 0, errNotLinux }
func syncFile(int, bool) error                                           { return errNotLinux }
func readDir(int, *tree, uint64, func(dirent) bool) error                { return errNotLinux }
func lockFile(int, uint8, uint64, uint64) (bool, error)                  { return false, errNotLinux }
func testLock(int, uint8, uint64, uint64) (uint8, uint64, uint64, error) { return 0, 0, 0, errNotLinux }
