/* match: which group claims which parameter. */
#ifndef LW_OPTIM_MATCH_H
#define LW_OPTIM_MATCH_H

#include "optim/optim.h"

/*
 * Fills group_of_param and the groups' counts; groups->groups[i] has its name already and comes from options[i]. A
 * pattern is a glob over the whole name, or "re:" and a POSIX extended regular expression that is searched for in it (^
 * and $ anchor it). The first group with a pattern that matches claims a parameter, the default group the rest. Errors as
 * lw_groups_create says.
 */
lw_status lw_match_params(lw_groups *groups, const lw_net *net, const lw_group_options *options);

#endif
