package compat;

import java.util.HashMap;
import java.util.Map;

/**
 * The Java clients as a process: {@code Driver MODE --flag value ...}.
 *
 * <p>It tells what happens as one JSON line an event on standard output and takes commands, a line each, on standard
 * input; the end of the input is the request to stop cleanly. compat_tests/drivers.py lists modes, flags and commands.
 */
public final class Driver {
    public static void main(String[] arguments) throws Exception {
        if (arguments.length == 0) {
            System.err.println("usage: Driver client|member|... --bootstrap HOST:PORT ...");
            System.exit(2);
        }
        Flags flags = new Flags(arguments);
        Events events = new Events();
        try {
            switch (arguments[0]) {
                case "client" -> Calls.run(flags, events);
                case "member" -> Member.run(flags, events);
                default -> Own.run(arguments[0], flags, events);
            }
        } catch (Exception failure) {
            failure.printStackTrace();
            events.emit("failed", Events.text(failure.getClass().getSimpleName()));
            System.exit(3);
        }
        System.exit(0);
    }

    /** The command line: --name value. */
    static final class Flags {
        private final Map<String, String> values = new HashMap<>();

        Flags(String[] arguments) {
            for (int at = 1; at + 1 < arguments.length; at += 2) {
                values.put(arguments[at].substring(2), arguments[at + 1]);
            }
        }

        String get(String name) {
            String value = values.get(name);
            if (value == null) {
                throw new IllegalArgumentException("--" + name + " is missing");
            }
            return value;
        }

        String get(String name, String otherwise) {
            return values.getOrDefault(name, otherwise);
        }

        boolean has(String name) {
            return values.containsKey(name);
        }
    }
}
