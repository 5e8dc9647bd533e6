package main

import (
	"errors"
	"fmt"
	"reflect"
	"sort"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

var errorType = reflect.TypeFor[error]()

// facts is what an admin client answered, ready for JSON: every exported field, errors by name and words.
func facts(value reflect.Value) any {
	if !value.IsValid() {
		return nil
	}
	if value.Type().Implements(errorType) && value.Kind() != reflect.Slice {
		if value.Kind() == reflect.Pointer && value.IsNil() {
			return nil
		}
		if err, ok := value.Interface().(error); ok && err != nil {
			return errorFacts(err)
		}
	}
	switch value.Kind() {
	case reflect.Interface, reflect.Pointer:
		if value.IsNil() {
			return nil
		}
		return facts(value.Elem())
	case reflect.Struct:
		return structFacts(value)
	case reflect.Map:
		found := map[string]any{}
		for _, key := range value.MapKeys() {
			found[fmt.Sprint(key.Interface())] = facts(value.MapIndex(key))
		}
		return found
	case reflect.Slice, reflect.Array:
		if value.Type().Elem().Kind() == reflect.Uint8 {
			return fmt.Sprint(value.Interface())
		}
		found := []any{}
		for at := range value.Len() {
			found = append(found, facts(value.Index(at)))
		}
		return found
	case reflect.Func:
		return nil
	}
	return value.Interface()
}

func structFacts(value reflect.Value) any {
	if moment, ok := value.Interface().(time.Time); ok {
		return moment.IsZero()
	}
	found := map[string]any{}
	for at := range value.NumField() {
		if field := value.Type().Field(at); field.IsExported() {
			found[field.Name] = facts(value.Field(at))
		}
	}
	if config, ok := found["Key"].(string); ok && found["Synonyms"] != nil { // one line each: a topic has thirty
		return fmt.Sprint(config, "=", found["Value"], " ", found["Source"], " ", found["Sensitive"])
	}
	return found
}

func errorFacts(err error) any {
	if coded := (*kerr.Error)(nil); errors.As(err, &coded) {
		if err.Error() == coded.Error() {
			return coded.Message
		}
		return coded.Message + ": " + err.Error()
	}
	return err.Error()
}

// publicMethods lists what can be called on value.
func publicMethods(value any) []string {
	kind := reflect.TypeOf(value)
	names := []string{}
	for at := range kind.NumMethod() {
		names = append(names, kind.Method(at).Name)
	}
	sort.Strings(names)
	return names
}
