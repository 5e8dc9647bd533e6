package compat;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Collection;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.stream.Collectors;

/** Both ends of the talk with the test: events out as [monotonic seconds, name, value], commands in. */
final class Events {
    private static final String END = "\0end of input";

    private final PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    private final BlockingQueue<String> commands = new LinkedBlockingQueue<>();
    private volatile boolean stopping;
    private volatile boolean holding;

    Events() {
        Thread reader = new Thread(this::readCommands, "commands");
        reader.setDaemon(true);
        reader.start();
    }

    /** value is JSON. Linux: nanoTime is the clock that Python's time.monotonic reads. */
    synchronized void emit(String name, String value) {
        out.println("[" + System.nanoTime() / 1e9 + ", " + text(name) + ", " + value + "]");
        out.flush();
    }

    /** Says which records are about to be processed, and waits here if the test wants them held. */
    void emitRecords(String value) throws InterruptedException {
        emit("records", value);
        if (holding) {
            emit("holding", "null");
            while (holding) {
                holding = !commands.take().equals("go");
            }
        }
    }

    boolean stopping() {
        return stopping;
    }

    /** The next command as its words, or null at the end of input. */
    String[] command() throws InterruptedException {
        String line = line();
        return line == null ? null : line.split(" ");
    }

    /** The next command as it came, or null at the end of input. */
    String line() throws InterruptedException {
        String line = commands.take();
        return line.equals(END) ? null : line;
    }

    private void readCommands() {
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        try {
            for (String line = input.readLine(); line != null; line = input.readLine()) {
                if (line.equals("hold")) {
                    holding = true;
                } else {
                    commands.add(line);
                }
            }
        } catch (java.io.IOException gone) {
            // the test is gone: the same as the end of input
        }
        stopping = true;
        holding = false;
        commands.add(END);
    }

    static String text(String value) {
        StringBuilder out = new StringBuilder("\"");
        for (char one : value.toCharArray()) {
            if (one == '"' || one == '\\' || one < ' ') {
                out.append(String.format("\\u%04x", (int) one));
            } else {
                out.append(one);
            }
        }
        return out.append('"').toString();
    }

    static String list(Collection<?> json) {
        return json.stream().map(Object::toString).collect(Collectors.joining(", ", "[", "]"));
    }

    static String offsets(Map<Integer, Long> offsets) {
        return offsets.entrySet().stream()
                .map(one -> text(one.getKey().toString()) + ": " + one.getValue())
                .collect(Collectors.joining(", ", "{", "}"));
    }
}
