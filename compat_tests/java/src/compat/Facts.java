package compat;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.Collection;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;

/** Whatever an Admin client answers, as JSON: every getter of every object, futures awaited, sets and maps in order. */
final class Facts {
    private static final Set<String> NOT_GETTERS = Set.of("hashCode", "toString", "getClass", "notify", "notifyAll");

    private Facts() {}

    static String of(Object value) throws InterruptedException {
        if (value == null || value instanceof Number || value instanceof Boolean) {
            return value instanceof Double number && number.isNaN() ? Events.text("NaN") : String.valueOf(value);
        } else if (value instanceof Future<?> future) {
            try {
                return of(future.get());
            } catch (ExecutionException refused) {
                return error(refused.getCause());
            }
        } else if (value instanceof Throwable refused) {
            return error(refused);
        } else if (value instanceof Optional<?> maybe) {
            return of(maybe.orElse(null));
        } else if (value instanceof OptionalInt maybe) {
            return maybe.isPresent() ? String.valueOf(maybe.getAsInt()) : "null";
        } else if (value instanceof OptionalLong maybe) {
            return maybe.isPresent() ? String.valueOf(maybe.getAsLong()) : "null";
        } else if (value instanceof Map<?, ?> map) {
            Map<String, String> facts = new TreeMap<>();
            for (Map.Entry<?, ?> entry : map.entrySet()) {
                facts.put(String.valueOf(entry.getKey()), of(entry.getValue()));
            }
            return object(facts);
        } else if (value instanceof Collection<?> many) {
            java.util.List<String> facts = new java.util.ArrayList<>();
            for (Object one : many) {
                facts.add(of(one));
            }
            if (!(many instanceof java.util.List)) {
                java.util.Collections.sort(facts);
            }
            return Events.list(facts);
        } else if (value instanceof ConfigEntry entry) { // one line each: a topic has thirty
            return Events.text(String.join(
                    " ",
                    entry.name() + "=" + entry.value(),
                    entry.source().name(),
                    entry.type().name(),
                    entry.isReadOnly() ? "read-only" : "",
                    entry.isSensitive() ? "sensitive" : ""));
        } else if (value instanceof Node node) {
            return Events.text("node " + node.id() + (node.rack() == null ? "" : " " + node.rack()));
        } else if (value instanceof Enum<?> || value instanceof TopicPartition || value instanceof Uuid) {
            return Events.text(value.toString());
        } else if (value.getClass().getName().startsWith("org.apache.kafka.")) {
            return getters(value);
        }
        return Events.text(value.toString());
    }

    static String error(Throwable refused) {
        Map<String, String> facts = new TreeMap<>();
        facts.put("error", Events.text(refused.getClass().getSimpleName()));
        facts.put("message", refused.getMessage() == null ? "null" : Events.text(refused.getMessage()));
        return object(facts);
    }

    private static String getters(Object value) throws InterruptedException {
        Map<String, String> facts = new TreeMap<>();
        for (Method method : value.getClass().getMethods()) {
            boolean getter = method.getParameterCount() == 0
                    && method.getReturnType() != void.class
                    && !Modifier.isStatic(method.getModifiers())
                    && !method.isAnnotationPresent(Deprecated.class)
                    && !NOT_GETTERS.contains(method.getName());
            if (getter) {
                method.setAccessible(true);
                try {
                    facts.put(method.getName(), of(method.invoke(value)));
                } catch (InvocationTargetException refused) {
                    facts.put(method.getName(), error(refused.getCause()));
                } catch (IllegalAccessException impossible) {
                    throw new AssertionError(impossible);
                }
            }
        }
        return object(facts);
    }

    private static String object(Map<String, String> facts) {
        return facts.entrySet().stream()
                .map(entry -> Events.text(entry.getKey()) + ": " + entry.getValue())
                .collect(Collectors.joining(", ", "{", "}"));
    }
}
