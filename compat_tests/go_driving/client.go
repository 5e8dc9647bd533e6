package driving

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"time"
)

// Deadline for anything that should take milliseconds: that of compat_tests/harness.py.
const Deadline = 120 * time.Second

// Record to send. A nil Partition: the client's partitioner decides; a nil TimestampMs: now.
type Record struct {
	Value, Key  []byte
	Headers     []Header
	Partition   *int32
	TimestampMs *int64
}

// Header of a record.
type Header struct {
	Name  string
	Value []byte
}

// Place of an acknowledged record.
type Place struct {
	Partition int32
	Offset    int64
}

// Received is a consumed record.
type Received struct {
	Place
	TimestampMs int64
	Key, Value  []byte
	Headers     []Header
}

// Sender is a producer, as compat_tests/client.py has it.
type Sender interface {
	Send(topic string, records []Record) ([]Place, error)
	Begin() error
	Commit() error
	Abort() error
	SendOffsets(group, topic string, offsets map[int32]int64) error
	Close() error
}

// Reader is a consumer without a group, as compat_tests/client.py has it.
type Reader interface {
	SeekBeginning() error
	SeekEnd() error
	Seek(offsets map[int32]int64) error
	SeekTime(timestampMs int64) (map[int32]*int64, error)
	Take(count int) ([]Received, error)
	Pause(partitions []int32) error
	Resume(partitions []int32) error
	Close() error
}

// SenderOptions: an empty text stands for null.
type SenderOptions struct {
	Compression, Partitioner, TransactionalID string
	Idempotent                                bool
	RequestTimeout                            time.Duration // 0: the library's own
}

// Client is the library, as compat_tests/client.py has it.
type Client interface {
	Version() string
	CreateTopic(topic string, partitions int, configs map[string]string) error
	Topics() (map[string]int, error)
	AddPartitions(topic string, total int) error
	DeleteTopic(topic string) error
	DeleteRecords(topic string, before map[int32]int64) error
	Config(topic string) (map[string]string, error)
	SetConfig(topic, name, value string) error
	Ends(topic string, partitions []int32) (map[int32]int64, error)
	Committed(group, topic string, partitions []int32) (map[int32]*int64, error)
	Groups() ([]string, error)
	Group(group string) (state string, members int, err error)
	DeleteGroup(group string) error
	Sender(options SenderOptions) (Sender, error)
	Reader(topic string, partitions []int32, isolation string) (Reader, error)
	Close() error
}

// CRC32 is the custom partitioner that the scenarios ask for.
func CRC32(key []byte, partitions int) int32 {
	return int32(crc32.ChecksumIEEE(key) % uint32(partitions))
}

// ServeClient is mode client: a command a line, each answered by done or error, until the end of input.
func ServeClient(nameOf func(error) any, open func(Flags) (Client, error)) Mode {
	return func(f Flags, told *Events) error {
		client, err := open(f)
		if err != nil {
			return err
		}
		defer client.Close()
		s := &serving{client: client, senders: map[int]Sender{}, readers: map[int]Reader{}}
		for line := range told.Commands {
			if value, err := s.answer([]byte(line)); err != nil {
				fmt.Fprintln(os.Stderr, err)
				told.Emit("error", nameOf(err))
			} else {
				told.Emit("done", value)
			}
		}
		for _, one := range s.senders {
			one.Close()
		}
		for _, one := range s.readers {
			one.Close()
		}
		return nil
	}
}

type serving struct {
	client  Client
	opened  int
	senders map[int]Sender
	readers map[int]Reader
}

// command is all that any command carries.
type command struct {
	Do               string            `json:"do"`
	Handle           int               `json:"handle"`
	Topic            string            `json:"topic"`
	Partitions       json.RawMessage   `json:"partitions"` // how many, or which
	Configs          map[string]string `json:"configs"`
	Total            int               `json:"total"`
	Before           map[int32]int64   `json:"before"`
	Name             string            `json:"name"`
	Value            string            `json:"value"`
	Group            string            `json:"group"`
	Compression      string            `json:"compression"`
	Partitioner      string            `json:"partitioner"`
	Idempotent       bool              `json:"idempotent"`
	TransactionalID  string            `json:"transactional_id"`
	Records          []Record          `json:"records"`
	Offsets          map[int32]int64   `json:"offsets"`
	RequestTimeoutMs int64             `json:"request_timeout_ms"`
	Isolation        string            `json:"isolation"`
	TimestampMs      int64             `json:"timestamp_ms"`
	Count            int               `json:"count"`
}

func (s *serving) answer(line []byte) (any, error) {
	var c command
	if err := json.Unmarshal(line, &c); err != nil {
		return nil, err
	}
	if sender, ok := s.senders[c.Handle]; ok {
		return s.ofSender(sender, c)
	}
	if reader, ok := s.readers[c.Handle]; ok {
		return s.ofReader(reader, c)
	}
	return s.ofClient(c)
}

func (s *serving) ofClient(c command) (any, error) {
	var many int
	var each []int32
	if len(c.Partitions) > 0 {
		into := any(&each)
		if c.Do == "create_topic" {
			into = &many
		}
		if err := json.Unmarshal(c.Partitions, into); err != nil {
			return nil, err
		}
	}
	switch c.Do {
	case "version":
		return s.client.Version(), nil
	case "create_topic":
		return nil, s.client.CreateTopic(c.Topic, many, c.Configs)
	case "topics":
		return s.client.Topics()
	case "add_partitions":
		return nil, s.client.AddPartitions(c.Topic, c.Total)
	case "delete_topic":
		return nil, s.client.DeleteTopic(c.Topic)
	case "delete_records":
		return nil, s.client.DeleteRecords(c.Topic, c.Before)
	case "config":
		return s.client.Config(c.Topic)
	case "set_config":
		return nil, s.client.SetConfig(c.Topic, c.Name, c.Value)
	case "ends":
		return s.client.Ends(c.Topic, each)
	case "committed":
		return s.client.Committed(c.Group, c.Topic, each)
	case "groups":
		return s.client.Groups()
	case "group":
		state, members, err := s.client.Group(c.Group)
		return []any{state, members}, err
	case "delete_group":
		return nil, s.client.DeleteGroup(c.Group)
	case "sender":
		one, err := s.client.Sender(SenderOptions{
			c.Compression, c.Partitioner, c.TransactionalID, c.Idempotent,
			time.Duration(c.RequestTimeoutMs) * time.Millisecond,
		})
		return open(s, s.senders, one, err)
	case "reader":
		one, err := s.client.Reader(c.Topic, each, c.Isolation)
		return open(s, s.readers, one, err)
	}
	return nil, fmt.Errorf("no command %q, or no handle %d", c.Do, c.Handle)
}

func open[T any](s *serving, handles map[int]T, one T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	s.opened++
	handles[s.opened] = one
	return s.opened, nil
}

func (s *serving) ofSender(sender Sender, c command) (any, error) {
	switch c.Do {
	case "send":
		places, err := sender.Send(c.Topic, c.Records)
		told := [][2]any{}
		for _, one := range places {
			told = append(told, [2]any{one.Partition, one.Offset})
		}
		return told, err
	case "begin":
		return nil, sender.Begin()
	case "commit":
		return nil, sender.Commit()
	case "abort":
		return nil, sender.Abort()
	case "send_offsets":
		return nil, sender.SendOffsets(c.Group, c.Topic, c.Offsets)
	case "close":
		delete(s.senders, c.Handle)
		return nil, sender.Close()
	}
	return nil, fmt.Errorf("a sender cannot %q", c.Do)
}

func (s *serving) ofReader(reader Reader, c command) (any, error) {
	var each []int32
	if len(c.Partitions) > 0 {
		if err := json.Unmarshal(c.Partitions, &each); err != nil {
			return nil, err
		}
	}
	switch c.Do {
	case "seek_beginning":
		return nil, reader.SeekBeginning()
	case "seek_end":
		return nil, reader.SeekEnd()
	case "seek":
		return nil, reader.Seek(c.Offsets)
	case "seek_time":
		return reader.SeekTime(c.TimestampMs)
	case "pause":
		return nil, reader.Pause(each)
	case "resume":
		return nil, reader.Resume(each)
	case "take":
		taken, err := reader.Take(c.Count)
		told := [][6]any{}
		for _, one := range taken {
			told = append(told, [6]any{one.Partition, one.Offset, one.TimestampMs, one.Key, one.Value, pairs(one.Headers)})
		}
		return told, err
	case "close":
		delete(s.readers, c.Handle)
		return nil, reader.Close()
	}
	return nil, fmt.Errorf("a reader cannot %q", c.Do)
}

func pairs(headers []Header) [][2]any {
	told := [][2]any{}
	for _, one := range headers {
		told = append(told, [2]any{one.Name, one.Value})
	}
	return told
}

// UnmarshalJSON of [value, key, [[name, value]], partition, timestamp]: bytes are base64 or null, as Go has them.
func (r *Record) UnmarshalJSON(line []byte) error {
	return json.Unmarshal(line, &[]any{&r.Value, &r.Key, &r.Headers, &r.Partition, &r.TimestampMs})
}

// UnmarshalJSON of [name, value].
func (h *Header) UnmarshalJSON(line []byte) error {
	return json.Unmarshal(line, &[]any{&h.Name, &h.Value})
}
