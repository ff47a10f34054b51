package ata

// shape is how a command's fields describe its data.
type shape uint8

const (
	shapeNone   shape = iota
	shapeBlocks       // a range of the disk, moved
	shapeRange        // a range of the disk, not moved
	shapePage         // 512 bytes
	shapePages        // Count times 512 bytes
)

// row is what is fixed of a command.
type row struct {
	name     string
	protocol Protocol
	shape    shape
	ext      bool // 48-bit addresses
	multi    bool // PIO blocks of several sectors
}

// lookup returns the row of a command.
func lookup(op uint8) (row, bool) {
	r := commands[op]
	return r, r.name != ""
}

// commands is indexed by the Command field.
var commands = [256]row{
	CmdNOP:               {name: "NOP"},
	CmdDataSetManagement: {name: "DATA SET MANAGEMENT", protocol: DMAOut, shape: shapePages, ext: true},
	CmdRequestSense:      {name: "REQUEST SENSE DATA EXT", ext: true},
	CmdRecalibrate:       {name: "RECALIBRATE"},
	CmdReadSectors:       {name: "READ SECTOR(S)", protocol: PIOIn, shape: shapeBlocks},
	CmdReadSectorsNR:     {name: "READ SECTOR(S) WITHOUT RETRY", protocol: PIOIn, shape: shapeBlocks},
	CmdReadSectorsExt:    {name: "READ SECTOR(S) EXT", protocol: PIOIn, shape: shapeBlocks, ext: true},
	CmdReadDMAExt:        {name: "READ DMA EXT", protocol: DMAIn, shape: shapeBlocks, ext: true},
	CmdReadNativeMaxExt:  {name: "READ NATIVE MAX ADDRESS EXT", ext: true},
	CmdReadMultipleExt:   {name: "READ MULTIPLE EXT", protocol: PIOIn, shape: shapeBlocks, ext: true, multi: true},
	CmdReadLogExt:        {name: "READ LOG EXT", protocol: PIOIn, shape: shapePages, ext: true},
	CmdWriteSectors:      {name: "WRITE SECTOR(S)", protocol: PIOOut, shape: shapeBlocks},
	CmdWriteSectorsNR:    {name: "WRITE SECTOR(S) WITHOUT RETRY", protocol: PIOOut, shape: shapeBlocks},
	CmdWriteSectorsExt:   {name: "WRITE SECTOR(S) EXT", protocol: PIOOut, shape: shapeBlocks, ext: true},
	CmdWriteDMAExt:       {name: "WRITE DMA EXT", protocol: DMAOut, shape: shapeBlocks, ext: true},
	CmdWriteMultipleExt:  {name: "WRITE MULTIPLE EXT", protocol: PIOOut, shape: shapeBlocks, ext: true, multi: true},
	CmdWriteDMAFUAExt:    {name: "WRITE DMA FUA EXT", protocol: DMAOut, shape: shapeBlocks, ext: true},
	CmdWriteLogExt:       {name: "WRITE LOG EXT", protocol: PIOOut, shape: shapePages, ext: true},
	CmdVerify:            {name: "READ VERIFY SECTOR(S)", shape: shapeRange},
	CmdVerifyNR:          {name: "READ VERIFY SECTOR(S) WITHOUT RETRY", shape: shapeRange},
	CmdVerifyExt:         {name: "READ VERIFY SECTOR(S) EXT", shape: shapeRange, ext: true},
	CmdZeroExt:           {name: "ZERO EXT", shape: shapeRange, ext: true},
	CmdWriteUncorrect:    {name: "WRITE UNCORRECTABLE EXT", shape: shapeRange, ext: true},
	CmdReadLogDMAExt:     {name: "READ LOG DMA EXT", protocol: DMAIn, shape: shapePages, ext: true},
	CmdWriteLogDMAExt:    {name: "WRITE LOG DMA EXT", protocol: DMAOut, shape: shapePages, ext: true},
	CmdReadFPDMA:         {name: "READ FPDMA QUEUED", protocol: QueuedIn, shape: shapeBlocks, ext: true},
	CmdWriteFPDMA:        {name: "WRITE FPDMA QUEUED", protocol: QueuedOut, shape: shapeBlocks, ext: true},
	CmdNCQNonData:        {name: "NCQ NON-DATA", protocol: QueuedNone, ext: true},
	CmdSendFPDMA:         {name: "SEND FPDMA QUEUED", protocol: QueuedOut, shape: shapePages, ext: true},
	CmdReceiveFPDMA:      {name: "RECEIVE FPDMA QUEUED", protocol: QueuedIn, shape: shapePages, ext: true},
	CmdSeek:              {name: "SEEK"},
	CmdDiagnostic:        {name: "EXECUTE DEVICE DIAGNOSTIC", protocol: Diagnostic},
	CmdInitParameters:    {name: "INITIALIZE DEVICE PARAMETERS"},
	CmdIdentifyPacket:    {name: "IDENTIFY PACKET DEVICE", protocol: PIOIn, shape: shapePage},
	CmdSMART:             {name: "SMART"},
	CmdReadMultiple:      {name: "READ MULTIPLE", protocol: PIOIn, shape: shapeBlocks, multi: true},
	CmdWriteMultiple:     {name: "WRITE MULTIPLE", protocol: PIOOut, shape: shapeBlocks, multi: true},
	CmdSetMultiple:       {name: "SET MULTIPLE MODE"},
	CmdReadDMA:           {name: "READ DMA", protocol: DMAIn, shape: shapeBlocks},
	CmdReadDMANR:         {name: "READ DMA WITHOUT RETRY", protocol: DMAIn, shape: shapeBlocks},
	CmdWriteDMA:          {name: "WRITE DMA", protocol: DMAOut, shape: shapeBlocks},
	CmdWriteDMANR:        {name: "WRITE DMA WITHOUT RETRY", protocol: DMAOut, shape: shapeBlocks},
	CmdWriteMultipleFUA:  {name: "WRITE MULTIPLE FUA EXT", protocol: PIOOut, shape: shapeBlocks, ext: true, multi: true},
	CmdStandbyImmediate:  {name: "STANDBY IMMEDIATE"},
	CmdIdleImmediate:     {name: "IDLE IMMEDIATE"},
	CmdStandby:           {name: "STANDBY"},
	CmdIdle:              {name: "IDLE"},
	CmdReadBuffer:        {name: "READ BUFFER", protocol: PIOIn, shape: shapePage},
	CmdCheckPower:        {name: "CHECK POWER MODE"},
	CmdSleep:             {name: "SLEEP"},
	CmdFlush:             {name: "FLUSH CACHE"},
	CmdWriteBuffer:       {name: "WRITE BUFFER", protocol: PIOOut, shape: shapePage},
	CmdReadBufferDMA:     {name: "READ BUFFER DMA", protocol: DMAIn, shape: shapePage},
	CmdFlushExt:          {name: "FLUSH CACHE EXT", ext: true},
	CmdWriteBufferDMA:    {name: "WRITE BUFFER DMA", protocol: DMAOut, shape: shapePage},
	CmdIdentify:          {name: "IDENTIFY DEVICE", protocol: PIOIn, shape: shapePage},
	CmdSetFeatures:       {name: "SET FEATURES"},
	CmdReadNativeMax:     {name: "READ NATIVE MAX ADDRESS"},
}
