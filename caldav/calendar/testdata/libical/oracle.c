/* Reads calendar objects, each ended by a line with a single dot, and answers
 * each with one line: the seconds since 1970 at which the instances of its first
 * component begin, as libical has them, below the end of the window. The window
 * is what an object's X-WINDOW property says. Used by TestAgainstLibical. */
#include <libical/ical.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static int by_value(const void *a, const void *b)
{
    long long x = *(const long long *)a, y = *(const long long *)b;
    return (x > y) - (x < y);
}

static long long *found;
static size_t count, room;

static void give(icalcomponent *c, struct icaltimetype start, struct icaltimetype t, const icaltimezone *zone, long long end)
{
    long long at;
    if (icalproperty_recurrence_is_excluded(c, &start, &t))
        return;
    at = icaltime_as_timet_with_zone(t, t.zone ? t.zone : zone);
    if (at >= end)
        return;
    if (count == room) {
        room = room ? 2 * room : 1024;
        found = realloc(found, room * sizeof *found);
    }
    found[count++] = at;
}

static const char *answer(const char *text)
{
    icalcomponent *o = icalcomponent_new_from_string(text), *c = NULL;
    icalproperty *p;
    struct icaltimetype start;
    const icaltimezone *zone;
    long long end;

    count = 0;
    if (o)
        c = icalcomponent_get_first_real_component(o);
    if (!c)
        return "unreadable";
    start = icalcomponent_get_dtstart(c);
    p = icalcomponent_get_first_property(c, ICAL_DTSTART_PROPERTY);
    if (p && icalproperty_get_first_parameter(p, ICAL_TZID_PARAMETER)) {
        const char *id = icalparameter_get_tzid(icalproperty_get_first_parameter(p, ICAL_TZID_PARAMETER));
        icaltimezone *z = icaltimezone_get_builtin_timezone(id);
        if (!z)
            return "no zone";
        start.zone = z;
    }
    zone = start.zone ? start.zone : icaltimezone_get_utc_timezone();
    p = icalcomponent_get_first_property(c, ICAL_X_PROPERTY);
    end = p ? atoll(icalproperty_get_x(p)) : 0;

    give(c, start, start, zone, end);
    for (p = icalcomponent_get_first_property(c, ICAL_RRULE_PROPERTY); p; p = icalcomponent_get_next_property(c, ICAL_RRULE_PROPERTY)) {
        struct icaltimetype t;
        icalrecur_iterator *it = icalrecur_iterator_new(icalproperty_get_rrule(p), start);
        if (!it)
            return "no iterator";
        for (t = icalrecur_iterator_next(it); !icaltime_is_null_time(t); t = icalrecur_iterator_next(it)) {
            if (icaltime_as_timet_with_zone(t, zone) >= end)
                break;
            give(c, start, t, zone, end);
        }
        icalrecur_iterator_free(it);
    }
    for (p = icalcomponent_get_first_property(c, ICAL_RDATE_PROPERTY); p; p = icalcomponent_get_next_property(c, ICAL_RDATE_PROPERTY)) {
        struct icaldatetimeperiodtype v = icalproperty_get_rdate(p);
        struct icaltimetype t = icaltime_is_null_time(v.time) ? v.period.start : v.time;
        icalparameter *id = icalproperty_get_first_parameter(p, ICAL_TZID_PARAMETER);
        if (id)
            t.zone = icaltimezone_get_builtin_timezone(icalparameter_get_tzid(id));
        give(c, start, t, zone, end);
    }
    icalcomponent_free(o);
    qsort(found, count, sizeof *found, by_value);
    return NULL;
}

static char *text;
static size_t length;

/* Reads all of the input, and cuts it into objects. */
static size_t read_all(char ***objects)
{
    size_t size = 1 << 20, n = 0, got;
    char *p, *end;
    text = malloc(size + 1);
    while ((got = fread(text + length, 1, size - length, stdin)) > 0) {
        length += got;
        if (length == size)
            text = realloc(text, (size *= 2) + 1);
    }
    text[length] = 0;
    *objects = malloc(length / 8 * sizeof **objects + sizeof **objects);
    for (p = text; (end = strstr(p, "\n.\n")); p = end + 3) {
        end[1] = 0;
        (*objects)[n++] = p;
    }
    return n;
}

/* Answers objects from number i on; done counts them. A rule that libical finds
 * no time for is walked to the year 2582 second by second: a timer ends this
 * process then, and its parent goes on with the next object. */
static void work(char **objects, size_t n, volatile size_t *done)
{
    for (; *done < n; ++*done) {
        struct itimerval t = {{0, 0}, {0, 10000}};
        const char *error;
        setitimer(ITIMER_VIRTUAL, &t, NULL);
        error = answer(objects[*done]);
        t.it_value.tv_usec = 0;
        setitimer(ITIMER_VIRTUAL, &t, NULL);
        if (error) {
            printf("! %s\n", error);
        } else {
            long long last = 0;
            for (size_t i = 0; i < count; i++) {
                if (i == 0 || found[i] != last)
                    printf("%s%lld", i ? " " : "", found[i]);
                last = found[i];
            }
            printf("\n");
        }
        fflush(stdout);
    }
    _exit(0);
}

int main(int argc, char **argv)
{
    char **objects;
    size_t n = read_all(&objects);
    volatile size_t *done = mmap(NULL, sizeof *done, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    icalerror_set_errors_are_fatal(0);
    for (int i = 1; i < argc; i++) { /* zones are read once, by the parent */
        struct icaltimetype t = icaltime_from_string("20300101T000000");
        icaltime_as_timet_with_zone(t, icaltimezone_get_builtin_timezone(argv[i]));
    }
    while (*done < n) {
        pid_t child = fork();
        int status;
        if (child == 0)
            work(objects, n, done);
        if (child < 0 || waitpid(child, &status, 0) < 0)
            return 1;
        if (*done < n) {
            printf("! %s\n", WIFSIGNALED(status) && WTERMSIG(status) == SIGVTALRM ? "slow" : "crashed");
            fflush(stdout);
            ++*done;
        }
    }
    return 0;
}
