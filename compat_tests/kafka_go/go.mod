module ottla.compat/driver

go 1.26.0

replace ottla.compat/driving => ../go_driving

require (
	github.com/segmentio/kafka-go v0.4.51
	ottla.compat/driving v0.0.0
)

require (
	github.com/klauspost/compress v1.15.9 // indirect
	github.com/pierrec/lz4/v4 v4.1.15 // indirect
	golang.org/x/sys v0.49.0 // indirect
)
