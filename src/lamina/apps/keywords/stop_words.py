"""Words that no key phrase begins or ends with: a list for English, written for Lamina from the closed classes of its
grammar (articles, pronouns, prepositions, conjunctions, auxiliaries, quantifiers, adverbs of place, time and degree).
"""

from __future__ import annotations

ENGLISH = frozenset(
    """
a an the this that these those such some any no none every each either neither both all few fewer little less least
many more most much several enough other others another same own
i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself she her hers herself
it its itself they them their theirs themselves one ones oneself who whom whose which what whoever whatever whichever
someone somebody something anyone anybody anything everyone everybody everything nobody nothing
about above across after against along amid among amongst around as at before behind below beneath beside besides
between beyond by despite down during except for from in inside into like near of off on onto out outside over past per
since than through throughout till to toward towards under underneath unlike until up upon versus via with within
without
and but or nor so yet if unless although though because while whereas whether when whenever where wherever why how once
am is are was were be been being do does did doing done have has had having will would shall should can could may might
must ought need dare let lets get gets got getting cannot
i'm i've i'd i'll you're you've you'd you'll he's he'd he'll she's she'd she'll it's it'd it'll we're we've we'd we'll
they're they've they'd they'll that's there's here's who's what's where's how's let's
isn't aren't wasn't weren't don't doesn't didn't haven't hasn't hadn't won't wouldn't shan't shouldn't can't couldn't
mightn't mustn't needn't ain't
not never ever always often sometimes seldom usually again already also too very quite rather almost just only even
still then there here now soon later ago thus hence therefore however moreover furthermore instead otherwise else
perhaps maybe indeed anyway away back further far well really
s t d m ll re ve
etc eg ie e.g i.e vs mr mrs ms dr
""".split()  # noqa: SIM905 - a hundred lines of quotes say no more
)
