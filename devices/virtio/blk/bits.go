package blk

import "dfemu/devices"

// Feature bits (Virtual I/O Device 1.2, section 5.2.3).
const (
	featureSegMax      = 1 << 2
	featureRO          = 1 << 5
	featureBlkSize     = 1 << 6
	featureFlush       = 1 << 9
	featureTopology    = 1 << 10
	featureConfigWCE   = 1 << 11
	featureMQ          = 1 << 12
	featureDiscard     = 1 << 13
	featureWriteZeroes = 1 << 14
)

// featureNames names them, and those that are not offered.
var featureNames = map[uint64]string{
	1 << 0: "BARRIER", 1 << 1: "SIZE_MAX", featureSegMax: "SEG_MAX", 1 << 4: "GEOMETRY", featureRO: "RO", featureBlkSize: "BLK_SIZE",
	1 << 7: "SCSI", featureFlush: "FLUSH", featureTopology: "TOPOLOGY", featureConfigWCE: "CONFIG_WCE", featureMQ: "MQ",
	featureDiscard: "DISCARD", featureWriteZeroes: "WRITE_ZEROES", 1 << 15: "LIFETIME", 1 << 16: "SECURE_ERASE",
}

// Rows of the device configuration (section 5.2.4).
const (
	cfgCapacity = iota
	cfgSizeMax
	cfgSegMax
	cfgCylinders
	cfgHeads
	cfgSectors
	cfgBlkSize
	cfgPhysicalExp
	cfgAlignment
	cfgMinIO
	cfgOptIO
	cfgWriteback
	cfgUnused0
	cfgNumQueues
	cfgMaxDiscardSectors
	cfgMaxDiscardSeg
	cfgDiscardAlignment
	cfgMaxZeroesSectors
	cfgMaxZeroesSeg
	cfgZeroesMayUnmap
	cfgUnused1
)

const (
	cfgSize       = 0x3c
	writebackByte = 0x20
)

// configRegisters is the table of the device-specific configuration.
var configRegisters = devices.NewBank("virtio blk config", []devices.Register{
	cfgCapacity:          {Offset: 0x00, Size: 8, Name: "capacity", Rights: devices.RO},
	cfgSizeMax:           {Offset: 0x08, Size: 4, Name: "size_max", Rights: devices.RO},
	cfgSegMax:            {Offset: 0x0c, Size: 4, Name: "seg_max", Rights: devices.RO},
	cfgCylinders:         {Offset: 0x10, Size: 2, Name: "geometry.cylinders", Rights: devices.RO},
	cfgHeads:             {Offset: 0x12, Size: 1, Name: "geometry.heads", Rights: devices.RO},
	cfgSectors:           {Offset: 0x13, Size: 1, Name: "geometry.sectors", Rights: devices.RO},
	cfgBlkSize:           {Offset: 0x14, Size: 4, Name: "blk_size", Rights: devices.RO},
	cfgPhysicalExp:       {Offset: 0x18, Size: 1, Name: "topology.physical_block_exp", Rights: devices.RO},
	cfgAlignment:         {Offset: 0x19, Size: 1, Name: "topology.alignment_offset", Rights: devices.RO},
	cfgMinIO:             {Offset: 0x1a, Size: 2, Name: "topology.min_io_size", Rights: devices.RO},
	cfgOptIO:             {Offset: 0x1c, Size: 4, Name: "topology.opt_io_size", Rights: devices.RO},
	cfgWriteback:         {Offset: writebackByte, Size: 1, Name: "writeback"},
	cfgUnused0:           {Offset: 0x21, Size: 1, Name: "unused0", Rights: devices.RO},
	cfgNumQueues:         {Offset: 0x22, Size: 2, Name: "num_queues", Rights: devices.RO},
	cfgMaxDiscardSectors: {Offset: 0x24, Size: 4, Name: "max_discard_sectors", Rights: devices.RO},
	cfgMaxDiscardSeg:     {Offset: 0x28, Size: 4, Name: "max_discard_seg", Rights: devices.RO},
	cfgDiscardAlignment:  {Offset: 0x2c, Size: 4, Name: "discard_sector_alignment", Rights: devices.RO},
	cfgMaxZeroesSectors:  {Offset: 0x30, Size: 4, Name: "max_write_zeroes_sectors", Rights: devices.RO},
	cfgMaxZeroesSeg:      {Offset: 0x34, Size: 4, Name: "max_write_zeroes_seg", Rights: devices.RO},
	cfgZeroesMayUnmap:    {Offset: 0x38, Size: 1, Name: "write_zeroes_may_unmap", Rights: devices.RO},
	cfgUnused1:           {Offset: 0x39, Size: 1, Name: "unused1", Rights: devices.RO, Count: 3, Stride: 1},
}).With(devices.Rules{Clause: "virtio 1.2, 5.2.4"})

// Types of requests (section 5.2.6).
const (
	typeIn          = 0
	typeOut         = 1
	typeFlush       = 4
	typeGetID       = 8
	typeDiscard     = 11
	typeWriteZeroes = 13
)

// typeNames are the specification's names of types, without VIRTIO_BLK_T_.
var typeNames = map[uint32]string{
	typeIn: "IN", typeOut: "OUT", typeFlush: "FLUSH", typeGetID: "GET_ID", 10: "GET_LIFETIME", typeDiscard: "DISCARD",
	typeWriteZeroes: "WRITE_ZEROES", 14: "SECURE_ERASE",
}

// Status of a request, its last byte.
const (
	statusOK    = 0
	statusIOErr = 1
	statusUnsup = 2
)

const (
	sectorSize   = 512
	headerSize   = 16
	idSize       = 20 // of the serial number
	rangeSize    = 16 // of one range to discard or zero
	rangeUnmap   = 1
	maxRanges    = 32
	maxSectors   = 1 << 21 // in one range: 1 GiB
	defaultQueue = 256
)
